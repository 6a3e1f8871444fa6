// Turn a recording into what the model hears: mono, 8 kHz, trimmed of silence, as data/audio.py does.

export const RATE = 8000; // Hz
const FRAME = 80; // samples, 10 ms
const MARGIN = 5; // frames kept on either side of what is loud
const TRIM_DB = 40; // below the loudest frame is silence
const SILENT_DBFS = -60;
const SHORTEST = 0.1; // seconds
const LONGEST = 30; // seconds
const MOST_BYTES = 100e6;

/** A recording that cannot be used; the message is for people. */
export class Unusable extends Error {}

/** The bytes of anything that the browser plays -> Float32Array at RATE; throws Unusable. */
export async function load(bytes) {
  if (bytes.byteLength > MOST_BYTES) throw new Unusable("This file is larger than 100 MB.");
  const wave = mono(await decode(bytes));
  if (wave.length > LONGEST * RATE) throw new Unusable("This is longer than 30 seconds.");
  const peak = wave.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  if (20 * Math.log10(peak) < SILENT_DBFS) throw new Unusable("Nothing can be heard in this.");
  const trimmed = trim(wave);
  if (trimmed.length < SHORTEST * RATE) throw new Unusable("This is too short: 0.1 s at least.");
  return trimmed;
}

/** An OfflineAudioContext resamples to its own rate as it decodes. */
async function decode(bytes) {
  try {
    return await new OfflineAudioContext(1, 1, RATE).decodeAudioData(bytes);
  } catch {
    throw new Unusable("This is not a sound file that the browser can play.");
  }
}

/** The mean of the channels of an AudioBuffer, less its own mean over time. */
function mono(buffer) {
  const wave = new Float32Array(buffer.length);
  for (let c = 0; c < buffer.numberOfChannels; c++) {
    buffer.getChannelData(c).forEach((x, i) => (wave[i] += x / buffer.numberOfChannels));
  }
  const offset = wave.reduce((sum, x) => sum + x, 0) / wave.length;
  return wave.map((x) => x - offset);
}

/** Keep what lies between the first and the last loud frame, and a margin around. */
export function trim(wave) {
  const power = new Float64Array(Math.ceil(wave.length / FRAME));
  wave.forEach((x, i) => (power[Math.floor(i / FRAME)] += x * x));
  const loud = (x) => x >= Math.max(...power) * 10 ** (-TRIM_DB / 10);
  const start = Math.max(0, power.findIndex(loud) - MARGIN);
  const stop = power.findLastIndex(loud) + 1 + MARGIN;
  return wave.slice(start * FRAME, stop * FRAME);
}
