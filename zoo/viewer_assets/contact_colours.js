// Contact probability as colour: magma, reversed, without its darkest fifth, and with a pale skin in place of its
// yellow end. Its lightness falls steadily, so that it reads the same with any kind of colour vision and in grey.

const SCALE = [
  0xefe7dc, 0xfecf92, 0xfe9f6d, 0xf7705c, 0xde4968, 0xb73779, 0x8c2981, 0x641a80, 0x3b0f70,
];

const linear = (byte) => {
  const share = byte / 255;
  return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
};

const channels = (colour) => [(colour >> 16) & 255, (colour >> 8) & 255, colour & 255];

function between(share) {
  const place = share * (SCALE.length - 1);
  const left = Math.min(Math.floor(place), SCALE.length - 2);
  const [from, to] = [channels(SCALE[left]), channels(SCALE[left + 1])];
  return from.map((value, i) => value + (to[i] - value) * (place - left));
}

/** 256 x 3 linear RGB, one row for each value of a byte. */
export const CONTACT_TABLE = Float32Array.from({ length: 768 }, (_, i) => linear(between(Math.floor(i / 3) / 255)[i % 3]));

/** The same scale for CSS, from left (0) to right (1). */
export const CONTACT_GRADIENT = `linear-gradient(to right, ${SCALE.map((c) => `rgb(${channels(c).join(" ")})`).join(", ")})`;
