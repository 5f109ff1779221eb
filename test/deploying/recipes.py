"""Reads the recipes of docs/deploying.md and the compose files, and prints what is in them as JSON.

The recipe for Kubernetes is checked against the schema of its API, without properties that the API doesn't know. Errors end with
status 1. `test/deploying_test.exs` compares the result with the settings, the Dockerfile and the pages that the recipes name.
"""

import json
import re
import sys
import tomllib

import kubernetes_validate
import yaml


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def main(root):
    guide = open(f"{root}/docs/deploying.md", encoding="utf-8").read()
    kubernetes = [resource for block in blocks(guide, "yaml") for resource in yaml.safe_load_all(block)]
    for resource in kubernetes:
        kubernetes_validate.validate(resource, kubernetes_validate.latest_version(), strict=True)
    compose = {
        name: yaml.safe_load(open(f"{root}/{name}", encoding="utf-8")) for name in ("compose.yaml", "compose.cluster.yaml")
    }
    fly = [tomllib.loads(block) for block in blocks(guide, "toml")]
    json.dump({"fly": fly, "kubernetes": kubernetes, "compose": compose}, sys.stdout)


main(sys.argv[1])
