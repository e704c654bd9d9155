// Reads what zoo/packed_numbers.py wrote: base64, deflated, byte planes, zigzag, differences between rows.

const ARRAYS = { 8: Uint8Array, 16: Uint16Array, 32: Uint32Array };

async function inflated(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Whole numbers of `packed.shape`, flat. */
export async function unpackIntegers(packed) {
  const size = packed.bits / 8;
  const bytes = await inflated(packed.data);
  const count = bytes.length / size;
  const numbers = new ARRAYS[packed.bits](count);
  const row = count / packed.shape[0];
  for (let i = 0; i < count; i++) {
    let zigzag = 0;
    for (let plane = 0; plane < size; plane++) zigzag |= bytes[plane * count + i] << (8 * plane);
    const step = (zigzag >>> 1) ^ -(zigzag & 1);
    numbers[i] = i < row ? step : numbers[i - row] + step; // the array's type wraps
  }
  return numbers;
}

/** Positions in metres, flat; null where there are none. */
export async function unpackPositions(packed) {
  if (!packed) return null;
  const numbers = await unpackIntegers(packed);
  const positions = new Float32Array(numbers.length);
  for (let i = 0; i < numbers.length; i++) positions[i] = packed.origin_m[i % 3] + packed.step_m * numbers[i];
  return positions;
}
