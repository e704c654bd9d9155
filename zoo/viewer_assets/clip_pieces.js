// What a clip puts into the scene: a piece for each thing that can be shown, hidden and coloured by itself.

import { Group, Mesh, SphereGeometry } from "three";
import { MovingMesh } from "./moving_mesh.js";
import { photoCamera } from "./photo_camera.js";
import { shadedMaterial } from "./shaded_material.js";
import { wristPath } from "./wrist_path.js";

const POINT_RADIUS_M = 0.006;
const PHOTO_BEHIND = 1.15; // times the greatest depth of the motion

/**
 * Pieces {part, tone, colour, object, seek(frame), dispose()}: `part` is hand, truth, photo, object, point or path;
 * `tone` names the entry of `tones` that gives its colour, null where the contact does.
 */
export function clipPieces(clip, faces, tones, onload) {
  const { payload } = clip;
  const pieces = [];
  const add = (part, tone, object, material, { seek = () => {}, dispose = () => object.geometry.dispose() } = {}) =>
    pieces.push({
      part, tone, object, seek,
      colour: tone && material.color,
      dispose() { object.removeFromParent(); dispose(); material.dispose(); },
    });
  const still = (mesh) => ({ dispose: () => mesh.dispose() });
  const moving = (mesh) => ({ seek: (frame) => mesh.seek(frame), ...still(mesh) });

  const skin = shadedMaterial(null);
  const hand = new MovingMesh(clip.vertices, clip.vertexCount, faces, skin, clip.contact);
  add("hand", null, hand.mesh, skin, moving(hand));

  if (clip.objectVertices) {
    const shell = shadedMaterial(tones.object);
    const mesh = new MovingMesh(clip.objectVertices, payload.object_vertices.shape[1], clip.objectFaces, shell);
    add("object", "object", mesh.mesh, shell, clip.objectMoves ? moving(mesh) : still(mesh));
  }
  if (payload.contact_point_m) {
    const material = shadedMaterial(tones.point);
    const point = new Mesh(new SphereGeometry(POINT_RADIUS_M, 20, 14), material);
    point.position.set(...payload.contact_point_m);
    add("point", "point", point, material);
  }
  if (clip.truthVertices) {
    // Pushed back a little, so that where both agree the prediction is seen. Its depth is drawn before its colour:
    // else parts of it would shine through others.
    const back = { polygonOffset: true, polygonOffsetFactor: 2, polygonOffsetUnits: 2 };
    const veil = shadedMaterial(tones.truth, { ...back, opacity: 0.4 });
    const ghost = new MovingMesh(clip.truthVertices, clip.vertexCount, faces, veil);
    const depth = new Mesh(ghost.geometry, shadedMaterial(tones.truth, { ...back, colorWrite: false, transparent: true }));
    depth.frustumCulled = false;
    depth.renderOrder = 2;
    ghost.mesh.renderOrder = 3;
    const { seek } = moving(ghost);
    const dispose = () => { ghost.dispose(); depth.material.dispose(); };
    add("truth", "truth", new Group().add(depth, ghost.mesh), veil, { seek, dispose });
  }
  for (const [part, tone, joints] of [["path", "lines", clip.joints], ["truth", "truth", clip.truthJoints]]) {
    if (!joints || clip.frames < 2) continue;
    const path = wristPath(joints, clip.frames, tones[tone]);
    add(part, tone, path, path.material);
  }
  if (payload.photo?.camera_K) {
    let depth = 0;
    for (let i = 2; i < clip.vertices.length; i += 3) depth = Math.max(depth, clip.vertices[i]);
    const { group, edges, dispose } = photoCamera(payload.photo, PHOTO_BEHIND * depth, tones.lines, onload);
    add("photo", "lines", group, edges, { dispose });
  }
  return pieces;
}
