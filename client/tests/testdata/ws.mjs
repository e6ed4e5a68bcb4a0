// A client on the package ws of npm, and on docs/protocol.md alone.
import { WebSocket } from "ws";

const socket = new WebSocket(process.argv[2], "go-ws.v1.json");
const say = (frame) => socket.send(JSON.stringify(frame));
socket.on("open", () => say({ type: "subscribe", data: "news", id: "1" }));
socket.on("message", (data) => {
  const f = JSON.parse(data);
  console.log(f.type, f.channel, f.data ?? f.id);
  if (f.type === "event") say({ type: "unsubscribe", data: "news", id: "2" });
});
socket.on("close", (code, reason) => console.log("closed", code, JSON.parse(reason).reason));
