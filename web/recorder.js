// Record from the microphone until the speaker falls silent, or is told to stop.

const LONGEST = 5_000; // ms
const PAUSE = 800; // ms of silence after speech that end a recording
const SPEECH = 0.02; // amplitude of what counts as speech, full scale being 1

/** Begin; `onlevel(0..1)` follows the sound. Gives { stop(), bytes: Promise<ArrayBuffer> }. */
export async function record(onlevel) {
  // What makes speech pleasant on the telephone would change what the model hears.
  const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const stream = await navigator.mediaDevices.getUserMedia({ audio: plain });
  const recorder = new MediaRecorder(stream);
  const stop = () => recorder.state === "recording" && recorder.stop();
  const bytes = collected(recorder).finally(() => stream.getTracks().forEach((t) => t.stop()));
  recorder.start();
  setTimeout(stop, LONGEST);
  listen(stream, recorder, onlevel, stop);
  return { stop, bytes };
}

function collected(recorder) {
  const parts = [];
  recorder.ondataavailable = ({ data }) => parts.push(data);
  return new Promise((resolve, reject) => {
    recorder.onstop = () => resolve(new Blob(parts).arrayBuffer());
    recorder.onerror = ({ error }) => reject(error);
  });
}

/** Follow the level at each frame of the screen; stop once speech has been over for a while. */
function listen(stream, recorder, onlevel, stop) {
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  context.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  let loudest = SPEECH;
  let heard = Infinity; // when speech was last heard
  const look = (now) => {
    if (recorder.state !== "recording") return context.close();
    analyser.getFloatTimeDomainData(samples);
    const level = samples.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    onlevel(Math.min(1, 2 * level));
    loudest = Math.max(loudest, level);
    if (level >= Math.max(SPEECH, loudest / 10)) heard = now;
    if (now - heard > PAUSE) stop();
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}
