// The way of the wrist over the whole clip.

import { BufferAttribute, BufferGeometry, Line, LineBasicMaterial } from "three";

/** joints: flat (T, J, 3), the wrist first. */
export function wristPath(joints, frames, colour) {
  const row = joints.length / frames;
  const points = new Float32Array(frames * 3);
  for (let frame = 0; frame < frames; frame++) points.set(joints.subarray(frame * row, frame * row + 3), 3 * frame);
  const geometry = new BufferGeometry();
  geometry.setAttribute("position", new BufferAttribute(points, 3));
  return new Line(geometry, new LineBasicMaterial({ color: colour, transparent: true }));
}
