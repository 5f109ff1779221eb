import { Socket } from "phoenix";
import { LiveSocket } from "phoenix_live_view";
import { hooks as roomtone } from "roomtone";

const csrf = document.querySelector('meta[name="csrf-token"]').content;
const liveSocket = new LiveSocket("/live", Socket, { params: { _csrf_token: csrf }, hooks: { ...roomtone } });
liveSocket.connect();
