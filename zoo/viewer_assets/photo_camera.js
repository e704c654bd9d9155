// The camera that took the photo: a pyramid from its centre, with the photo behind all that moves.

import {
  BufferAttribute, BufferGeometry, DoubleSide, Group, LineBasicMaterial, LinearFilter, LineSegments, Mesh,
  MeshBasicMaterial, SRGBColorSpace, Texture,
} from "three";

/** The photo's corners at `depth` metres, from the top left clockwise, in the camera's frame. */
function corners(photo, depth) {
  const [[fx, skew, cx], [, fy, cy]] = photo.camera_K;
  return [[0, 0], [photo.width, 0], [photo.width, photo.height], [0, photo.height]].map(([x, y]) => {
    const up = (y - cy) / fy;
    return [((x - cx - skew * up) / fx) * depth, up * depth, depth];
  });
}

/**
 * {group, edges, dispose()}: a group to put into the camera's frame, and the material of its edges. `onload` is called
 * when the photo can be drawn.
 */
export function photoCamera(photo, depth, colour, onload) {
  const group = new Group();
  const points = corners(photo, depth);
  const ends = points.flatMap((point, i) => [0, 0, 0, ...point, ...point, ...points[(i + 1) % 4]]);
  const lines = new BufferGeometry();
  lines.setAttribute("position", new BufferAttribute(new Float32Array(ends), 3));
  const edges = new LineBasicMaterial({ color: colour, transparent: true, opacity: 0.7 });
  group.add(new LineSegments(lines, edges));

  const plane = new BufferGeometry();
  plane.setAttribute("position", new BufferAttribute(new Float32Array(points.flat()), 3));
  plane.setAttribute("uv", new BufferAttribute(new Float32Array([0, 1, 1, 1, 1, 0, 0, 0]), 2));
  plane.setIndex([0, 1, 2, 0, 2, 3]);
  const texture = new Texture();
  texture.colorSpace = SRGBColorSpace;
  texture.generateMipmaps = false;
  texture.minFilter = LinearFilter;
  const material = new MeshBasicMaterial({
    map: texture, side: DoubleSide, transparent: true, opacity: 0.5, depthWrite: false, visible: false,
  });
  const picture = new Mesh(plane, material);
  picture.renderOrder = -1;
  group.add(picture);
  const image = new Image();
  image.onload = () => {
    texture.image = image;
    texture.needsUpdate = true;
    material.visible = true;
    onload();
  };
  image.src = photo.url;
  const dispose = () => {
    image.onload = null;
    [lines, plane, material, texture].forEach((held) => held.dispose());
  };
  return { group, edges, dispose };
}

/** Vertical field of view in degrees in which the whole photo is seen by a view of this aspect. */
export function photoFieldOfView(photo, aspect) {
  const [[fx, , cx], [, fy, cy]] = photo.camera_K;
  const high = Math.max(cy, photo.height - cy) / fy;
  const wide = Math.max(cx, photo.width - cx) / fx;
  return (360 / Math.PI) * Math.atan(Math.max(high, wide / aspect));
}
