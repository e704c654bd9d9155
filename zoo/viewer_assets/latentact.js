// What a page finds as `LatentAct`.

export { HandView } from "./hand_view.js";
export { startViewer } from "./viewer.js";
