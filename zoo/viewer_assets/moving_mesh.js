// A mesh whose vertices change from frame to frame.

import { BufferAttribute, BufferGeometry, DynamicDrawUsage, Mesh } from "three";
import { CONTACT_TABLE } from "./contact_colours.js";

export class MovingMesh {
  /** positions: flat (T, V, 3); contact: flat (T, V) bytes, or null for a mesh of one colour. */
  constructor(positions, vertexCount, faces, material, contact = null) {
    this.positions = positions;
    this.contact = contact;
    this.vertexCount = vertexCount;
    this.geometry = new BufferGeometry();
    this.geometry.setIndex(new BufferAttribute(faces, 1));
    this.geometry.setAttribute("position", this.#changing());
    if (contact) this.geometry.setAttribute("color", this.#changing());
    this.mesh = new Mesh(this.geometry, material);
    this.mesh.frustumCulled = false; // its bounds would have to follow the frames
    this.seek(0);
  }

  #changing() {
    return new BufferAttribute(new Float32Array(3 * this.vertexCount), 3).setUsage(DynamicDrawUsage);
  }

  seek(frame) {
    const { position, color } = this.geometry.attributes;
    const first = frame * this.vertexCount;
    position.array.set(this.positions.subarray(3 * first, 3 * (first + this.vertexCount)));
    position.needsUpdate = true;
    if (color) {
      for (let vertex = 0; vertex < this.vertexCount; vertex++) {
        const row = 3 * this.contact[first + vertex];
        for (let i = 0; i < 3; i++) color.array[3 * vertex + i] = CONTACT_TABLE[row + i];
      }
      color.needsUpdate = true;
    }
    this.geometry.computeVertexNormals();
  }

  dispose() {
    this.geometry.dispose();
  }
}
