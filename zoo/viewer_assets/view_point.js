// Where a HandView is looked at from.

import { Spherical, Vector3 } from "three";
import { photoFieldOfView } from "./photo_camera.js";

const FIELD_OF_VIEW = 35; // degrees, vertical
const MARGIN = 1.12;
const ASIDE = 0.42; // radians beside and above the camera's own line, so that depth can be seen
const ABOVE = 0.26;
const TURN = Math.PI / 24; // of one key press
const ZOOM = 1.12;
const PAN = 0.06; // of the distance

/** Fits the whole motion, ghost and contact point into the view, seen from the camera's side. */
export function fitView(view) {
  const { camera, controls, clip } = view;
  const beside = view.company.map((other) => other.vertices);
  const clouds = [clip.vertices, clip.truthVertices, clip.payload.contact_point_m, ...beside].filter(Boolean);
  const low = new Vector3(Infinity, Infinity, Infinity);
  const high = low.clone().negate();
  const point = new Vector3();
  const each = (visit) => {
    for (const cloud of clouds) {
      // y down, z forward -> y up, z back
      for (let i = 0; i < cloud.length; i += 3) visit(point.set(cloud[i], -cloud[i + 1], -cloud[i + 2]));
    }
  };
  each((p) => { low.min(p); high.max(p); });
  const centre = low.add(high).multiplyScalar(0.5);
  const back = new Spherical().setFromVector3(centre.lengthSq() ? centre.clone().negate() : new Vector3(0, 0, 1));
  back.theta += ASIDE;
  back.phi = Math.min(Math.max(back.phi - ABOVE, 0.2), Math.PI - 0.2);
  const toward = new Vector3().setFromSpherical(back).normalize();
  const right = new Vector3(0, 1, 0).cross(toward).normalize();
  const up = toward.clone().cross(right);
  const tall = Math.tan((FIELD_OF_VIEW * Math.PI) / 360);
  const wide = tall * camera.aspect;
  let distance = 0.05;
  each((p) => {
    p.sub(centre);
    const reach = Math.max(Math.abs(p.dot(right)) / wide, Math.abs(p.dot(up)) / tall);
    distance = Math.max(distance, MARGIN * reach + p.dot(toward));
  });
  place(view, centre.clone().addScaledVector(toward, distance), centre, FIELD_OF_VIEW);
  view.viewIsFitted = true;
  controls.saveState();
}

/** Puts the eye where the photo was taken, the photo just filling the view; false without a photo's camera. */
export function lookThroughCamera(view) {
  const { vertices, payload: { photo } } = view.clip;
  if (!photo?.camera_K) return false;
  const ahead = new Vector3(0, 0, -Math.max(vertices[2], 0.05));
  place(view, new Vector3(0, 0, 0), ahead, photoFieldOfView(photo, view.camera.aspect));
  view.viewIsFitted = false;
  return true;
}

function place({ camera, controls }, eye, target, fieldOfView) {
  camera.fov = fieldOfView;
  camera.position.copy(eye);
  controls.target.copy(target);
  camera.updateProjectionMatrix();
  controls.update();
}

/** Turns (Shift and arrows), moves (w a s d) or zooms (+ -); whether the key was one of these. */
export function moveByKey(view, event) {
  if (event.ctrlKey || event.metaKey || event.altKey || !view.clip) return false;
  const { camera, controls } = view;
  const offset = camera.position.clone().sub(controls.target);
  const turns = { ArrowLeft: [-TURN, 0], ArrowRight: [TURN, 0], ArrowUp: [0, -TURN], ArrowDown: [0, TURN] };
  const moves = { a: [-1, 0], d: [1, 0], w: [0, 1], s: [0, -1] };
  if (event.shiftKey && turns[event.key]) {
    const place = new Spherical().setFromVector3(offset);
    place.theta += turns[event.key][0];
    place.phi += turns[event.key][1];
    offset.setFromSpherical(place.makeSafe());
  } else if (event.key === "+" || event.key === "=") {
    offset.divideScalar(ZOOM);
  } else if (event.key === "-") {
    offset.multiplyScalar(ZOOM);
  } else if (moves[event.key]) {
    const [x, y] = moves[event.key].map((share) => share * PAN * offset.length());
    const axes = camera.matrixWorld.elements;
    controls.target.add(new Vector3(axes[0], axes[1], axes[2]).multiplyScalar(x));
    controls.target.add(new Vector3(axes[4], axes[5], axes[6]).multiplyScalar(y));
  } else {
    return false;
  }
  camera.position.copy(controls.target).add(offset);
  view.viewIsFitted = false;
  controls.update();
  view.invalidate();
  return true;
}
