// The page: what people press, and what they see.

import { record } from "./recorder.js";
import { load, Unusable } from "./sound.js";

const COUNT = 16; // images
const find = (id) => document.getElementById(id);
const [button, file, dial, again, grid, sound, status] = [
  "record", "file", "diversity", "again", "grid", "sound", "status",
].map(find);

const painter = new Worker(new URL("painter.js", import.meta.url), { type: "module" });
const model = fetch(new URL("model.json", import.meta.url)).then((answer) => answer.json());
let wave = null; // what was heard
let rate = 0; // Hz, of the model
let seed = 1;
let recording = null;
let painting = false;
let waiting = false; // something changed while the painter was at work

painter.onmessage = ({ data: { ready, error, images, shape } }) => {
  if (ready) return tell("Ready.");
  painting = false;
  grid.ariaBusy = waiting;
  if (error) return tell(`The model could not be run: ${error}`);
  show(images, shape);
  grid.setAttribute("aria-label", `${shape[0]} drawings of what was heard`);
  tell(`Heard ${seconds(wave)}.`);
  if (waiting) paint();
};
painter.onerror = () => tell("The model could not be loaded. Is this page served by a web server?");

function tell(text) {
  status.textContent = text;
}

/** Have the newest wish painted; those that came in between are skipped. */
function paint() {
  find("value").textContent = Number(dial.value).toFixed(2);
  if (!wave) return;
  grid.ariaBusy = true;
  waiting = painting;
  if (painting) return;
  painting = true;
  painter.postMessage({ wave, n: COUNT, seed, diversity: Number(dial.value) });
}

/** Images float32[n, C, H, W] in 0..1 onto a canvas each. */
function show(images, [n, channels, height, width]) {
  const size = height * width;
  const drawn = Array.from({ length: n }, (_, i) => {
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    const picture = new ImageData(width, height);
    for (let p = 0; p < size; p++) {
      for (let c = 0; c < 3; c++) {
        const from = (i * channels + Math.min(c, channels - 1)) * size + p;
        picture.data[4 * p + c] = Math.round(255 * images[from]);
      }
      picture.data[4 * p + 3] = 255;
    }
    canvas.getContext("2d").putImageData(picture, 0, 0);
    return canvas;
  });
  grid.replaceChildren(...drawn);
}

/** The loudness of what was heard over time, as bars. */
function plot() {
  const { width, height } = sound;
  const pen = sound.getContext("2d");
  pen.clearRect(0, 0, width, height);
  pen.fillStyle = getComputedStyle(sound).color;
  const loudest = wave.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  const bars = width / 6;
  for (let bar = 0; bar < bars; bar++) {
    const part = wave.slice((bar * wave.length) / bars, ((bar + 1) * wave.length) / bars);
    const level = part.reduce((most, x) => Math.max(most, Math.abs(x)), 0) / loudest;
    const tall = Math.max(2, level * height);
    pen.fillRect(6 * bar, (height - tall) / 2, 4, tall);
  }
}

function seconds(wave) {
  return `${(wave.length / rate).toFixed(1)} s`;
}

async function hear(bytes) {
  tell("Reading the sound…");
  try {
    rate = (await model).sample_rate;
    wave = await load(bytes, rate);
    tell(`Heard ${seconds(wave)}; drawing…`);
    plot();
    grid.scrollIntoView({ block: "nearest" });
    again.disabled = false;
    paint();
  } catch (error) {
    if (!(error instanceof Unusable)) throw error;
    tell(error.message);
  }
}

button.onclick = async () => {
  if (recording) return recording.stop();
  recording = { stop() {} }; // while the browser asks for permission
  try {
    recording = await record((level) => button.style.setProperty("--level", level));
  } catch (error) {
    recording = null;
    return tell(`The microphone cannot be used (${error.message}). Choose a sound file instead.`);
  }
  mark("Stop", true);
  tell("Listening… say a digit.");
  const bytes = await recording.bytes.finally(() => {
    recording = null;
    mark("Record", false);
  });
  await hear(bytes);
};

function mark(label, pressed) {
  button.querySelector("span").textContent = label;
  button.classList.toggle("recording", pressed);
}

file.onchange = async () => {
  if (file.files.length) await hear(await file.files[0].arrayBuffer());
  file.value = ""; // so that the same file can be chosen again
};
show(new Float32Array(COUNT), [COUNT, 1, 1, 1]); // black, until there is something to see
dial.oninput = paint;
again.onclick = () => {
  seed += 1;
  paint();
};
if (!navigator.mediaDevices) {
  button.disabled = true;
  tell("Browsers give the microphone only to pages of https or localhost. Choose a sound file.");
}
