// Matt surfaces under one lamp beside the eye and light from above, shaded at the vertices: as good for a hand of 778 of
// them, and without a GPU many times cheaper than shading every pixel.

import { Color, DoubleSide, ShaderMaterial } from "three";

const VERTEX = `
uniform vec3 tone;
varying vec3 shaded;
void main() {
  vec4 place = modelViewMatrix * vec4(position, 1.0);
  vec3 out_ = normalize(normalMatrix * normal);
  if (dot(out_, place.xyz) > 0.0) out_ = -out_; // a scan may be wound either way
  vec3 above = (viewMatrix * vec4(0.0, 1.0, 0.0, 0.0)).xyz;
  float lamp = max(dot(out_, normalize(vec3(-0.6, 0.9, 1.0))), 0.0);
  float sky = 0.5 + 0.5 * dot(out_, above);
  vec3 light = 0.56 * lamp + mix(vec3(0.30, 0.28, 0.26), vec3(0.52), sky);
  #ifdef USE_COLOR
    shaded = color * light;
  #else
    shaded = tone * light;
  #endif
  gl_Position = projectionMatrix * place;
}`;
const FRAGMENT = `
uniform float opacity;
varying vec3 shaded;
void main() {
  gl_FragColor = vec4(shaded, opacity);
  #include <colorspace_fragment>
}`;

/** A material of one tone, or of the vertices' own colours where `tone` is null; other settings as three.js has them. */
export function shadedMaterial(tone, { opacity = 1, ...settings } = {}) {
  const colour = new Color(tone ?? 0xffffff);
  const material = new ShaderMaterial({
    vertexShader: VERTEX, fragmentShader: FRAGMENT, side: DoubleSide, forceSinglePass: true, vertexColors: tone === null,
    uniforms: { tone: { value: colour }, opacity: { value: opacity } }, transparent: opacity < 1, ...settings,
  });
  material.color = colour; // as three.js's own materials have it
  return material;
}
