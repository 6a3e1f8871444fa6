// Draw images from sound, in a thread of its own so that the page stays smooth.

import * as ort from "./ort.js";

ort.env.wasm.numThreads = 1; // more need headers that static hosts do not send
const started = start();
started.then(() => postMessage({ ready: true }), tell);

onmessage = async ({ data }) => {
  try {
    const { images } = await draw(await started, data);
    postMessage({ images: images.data, shape: images.dims.slice(1) });
  } catch (error) {
    tell(error);
  }
};

/** The model, run once: a browser translates code well only after it has seen it at work. */
async function start() {
  const session = await ort.InferenceSession.create(new URL("model.onnx", import.meta.url).href);
  await draw(session, { wave: new Float32Array(4000), n: 16, seed: 0, diversity: 0 });
  return session;
}

function draw(session, { wave, n, seed, diversity }) {
  const size = session.inputMetadata.find((input) => input.name === "noise").shape[2];
  const noise = normal(n * size, seed).map((z) => diversity * z);
  return session.run({
    waveform: new ort.Tensor("float32", wave, [1, wave.length]),
    lengths: new ort.Tensor("int64", [wave.length], [1]),
    noise: new ort.Tensor("float32", noise, [1, n, size]),
  });
}

function tell(error) {
  postMessage({ error: String(error) });
}

/** `count` standard normal numbers (Box and Muller 1958), the same for the same seed. */
function normal(count, seed) {
  const uniform = generator(seed);
  return Float32Array.from({ length: count }, () => {
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
    return radius * Math.cos(2 * Math.PI * uniform());
  });
}

/** Numbers in [0, 1) from a 32-bit state (Mulberry32): the browser's own cannot be seeded. */
function generator(state) {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
