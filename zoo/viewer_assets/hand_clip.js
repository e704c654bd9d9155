// A clip as the page draws it: the payload of zoo.viewer.clip_payload with its numbers unpacked.

import { unpackIntegers, unpackPositions } from "./packed_numbers.js";

const unpacked = new WeakMap(); // payload -> promise, so that each clip is unpacked once

/** Promise of {frames, vertices, contact, joints, truthVertices, truthJoints, objectVertices, objectFaces, payload}. */
export function unpackClip(payload) {
  if (!unpacked.has(payload)) unpacked.set(payload, unpack(payload));
  return unpacked.get(payload);
}

async function unpack(payload) {
  const [vertices, contact, joints, truthVertices, truthJoints, objectVertices, objectFaces] = await Promise.all([
    unpackPositions(payload.vertices),
    unpackIntegers(payload.contact),
    unpackPositions(payload.joints),
    unpackPositions(payload.truth_vertices),
    unpackPositions(payload.truth_joints),
    unpackPositions(payload.object_vertices),
    payload.object_faces ? unpackIntegers(payload.object_faces) : null,
  ]);
  const [frames, vertexCount] = payload.vertices.shape;
  return {
    payload, frames, vertexCount, vertices, contact, joints, truthVertices, truthJoints, objectVertices, objectFaces,
    objectMoves: Boolean(payload.object_vertices) && payload.object_vertices.shape[0] > 1,
  };
}

/** How many of the frame's vertices reach the clip's contact threshold. */
export function verticesInContact(clip, frame) {
  const least = clip.payload.contact_threshold * 255 - 0.5; // a byte stands for what was rounded to it
  let count = 0;
  for (let i = frame * clip.vertexCount; i < (frame + 1) * clip.vertexCount; i++) count += clip.contact[i] >= least;
  return count;
}
