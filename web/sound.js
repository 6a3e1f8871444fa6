// Turn a recording into what the model hears: mono, at its rate in Hz, trimmed of silence, as
// data/audio.py does.

const FRAMES = 100; // a second
const MARGIN = 5; // frames kept on either side of what is loud
const TRIM_DB = 40; // below the loudest frame is silence
const ROOM = 40; // frames of steady level at an end that are a room's noise
const ROOM_DB = 4; // how steady
const EMPHASIS = 0.8; // of the high frequencies, where a room's level is measured
const SILENT_DBFS = -60;
const SHORTEST = 0.1; // seconds
const LONGEST = 30; // seconds
const MOST_BYTES = 100e6;

/** A recording that cannot be used; the message is for people. */
export class Unusable extends Error {}

/** The bytes of anything that the browser plays -> Float32Array at `rate`; throws Unusable. */
export async function load(bytes, rate) {
  if (bytes.byteLength > MOST_BYTES) throw new Unusable("This file is larger than 100 MB.");
  const wave = mono(await decode(bytes, rate));
  if (wave.length > LONGEST * rate) throw new Unusable("This is longer than 30 seconds.");
  const peak = wave.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  if (20 * Math.log10(peak) < SILENT_DBFS) throw new Unusable("Nothing can be heard in this.");
  const trimmed = trim(wave, rate);
  if (trimmed.length < SHORTEST * rate) throw new Unusable("This is too short: 0.1 s at least.");
  return trimmed;
}

/** An OfflineAudioContext resamples to its own rate as it decodes. */
async function decode(bytes, rate) {
  try {
    return await new OfflineAudioContext(1, 1, rate).decodeAudioData(bytes);
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

/** Cut silence and a room's steady noise from both ends, until there is none. */
export function trim(wave, rate) {
  const size = Math.floor(rate / FRAMES);
  let found = wave;
  do {
    wave = found;
    found = loud(wave, size);
    found = found.slice(room(found, size));
    found = found.slice(0, found.length - room(found.slice().reverse(), size));
  } while (found.length < wave.length);
  return found;
}

/** Keep what lies between the first and the last loud frame, and a margin around. */
function loud(wave, size) {
  const power = new Float64Array(Math.ceil(wave.length / size));
  wave.forEach((x, i) => (power[Math.floor(i / size)] += x * x));
  const least = Math.max(...power) * 10 ** (-TRIM_DB / 10);
  const start = Math.max(0, power.findIndex((x) => x >= least) - MARGIN);
  const stop = power.findLastIndex((x) => x >= least) + 1 + MARGIN;
  return wave.slice(start * size, stop * size);
}

/** Samples at the start that are a room's noise: steady, until something is louder. */
function room(wave, size) {
  const whole = Math.floor(wave.length / size);
  if (whole <= ROOM) return 0;
  const power = new Float64Array(whole);
  for (let i = 0; i < whole * size; i++) {
    const x = wave[i] - (i ? EMPHASIS * wave[i - 1] : 0);
    power[Math.floor(i / size)] += x * x;
  }
  const level = Array.from({ length: whole - MARGIN + 1 }, (_, i) =>
    power.slice(i, i + MARGIN).reduce((sum, x) => sum + x),
  );
  const start = level.slice(0, ROOM - MARGIN + 1);
  const most = Math.max(...start) * 10 ** (ROOM_DB / 10);
  if (Math.min(...start) * 10 ** (ROOM_DB / 10) < Math.max(...start)) return 0;
  return Math.max(0, level.findIndex((x) => x > most) - 1) * size;
}
