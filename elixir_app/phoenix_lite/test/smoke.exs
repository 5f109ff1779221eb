{:ok, _} = Supervisor.start_link([{Phoenix.PubSub, name: Demo.PubSub}, Demo.Endpoint], strategy: :one_for_one)
{:ok, {_, port}} = Demo.Endpoint.server_info(:http)

run = fn cmd ->
  {out, code} = System.cmd("bash", ["-c", cmd], stderr_to_stdout: true)
  IO.puts("#{code} $ #{cmd}\n#{out}")
end

u = "http://127.0.0.1:#{port}"

run.(
  "curl -si #{u}/; echo; curl -si #{u}/assets/app.js; curl -si #{u}/rooms/a%3Cb; echo; curl -si #{u}/nope; echo; curl -si #{u}/api/crash; echo; curl -sI #{u}/robots.txt"
)

run.(
  "curl -si #{u}/api/stream; echo; curl -si -d '{\"a\":[1,2.5,null]}' -H 'content-type: application/json' '#{u}/api/echo?q[x]=1'; head -c 200000 /dev/urandom > /tmp/r; curl -s --data-binary @/tmp/r -H 'content-type: application/octet-stream' #{u}/api/raw; python3 -c \"import zlib;print('', zlib.crc32(open('/tmp/r','rb').read()))\"; curl -s #{u}/api/big | wc -c"
)

File.write!("/tmp/smoke.mjs", """
import {Socket} from "/work/main/elixir_app/phoenix_lite/test/client/node_modules/phoenix/priv/static/phoenix.mjs"
import WebSocket from "/work/main/elixir_app/phoenix_lite/test/client/node_modules/ws/wrapper.mjs"
const s = new Socket("ws://127.0.0.1:#{port}/voice", {transport: WebSocket, params: {user: "u1"}})
s.onError(e => console.log("error", e.message)); s.onOpen(() => console.log("open"))
s.connect()
const c = s.channel("room:welcome", {foo: "bar"})
c.on("welcome", m => { console.log("welcome", m); c.push("echo", {x: 1}).receive("ok", m => { console.log("echo", m); c.on("shout", m => {console.log("shout", m); s.disconnect(); setTimeout(() => process.exit(0), 100)}); c.push("shout", {m: "hi"}) }) })
c.join().receive("ok", m => console.log("joined", m)).receive("error", m => console.log("refused", m))
setTimeout(() => process.exit(1), 5000)
""")

run.("node /tmp/smoke.mjs")
