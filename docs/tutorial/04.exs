Code.require_file("run.exs", __DIR__)
Tutorial.run("04")
