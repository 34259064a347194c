/**
 * The sounds of a telephone, made here: ringing, the far end's ringing, and a key's click.
 *
 * Browsers play nothing before somebody has touched the page; a ring that may not sound is shown only, and sounds from
 * the first touch on.
 */

/** Hz, seconds of sound, seconds between, loudness. Ringing of the far end is that of North America (440 and 480 Hz). */
const CADENCES = {
  ring: { tones: [523, 659], on: 0.9, off: 1.6, gain: 0.12 },
  ringback: { tones: [440, 480], on: 2, off: 4, gain: 0.04 },
};

/** @type {AudioContext | null} */
let context = null;
/** @type {(() => void) | null} */
let silence = null;

/** The one audio context of the phone. */
export function audio() {
  context ??= new AudioContext();
  if (context.state === "suspended") context.resume().catch(() => {});
  return context;
}

/** Wake the sound up at the first touch of the page. */
export function wakeOnTouch() {
  const wake = () => {
    if (context?.state === "suspended") context.resume().catch(() => {});
  };
  for (const touch of ["pointerdown", "keydown"]) addEventListener(touch, wake, { capture: true, passive: true });
}

/**
 * Sound a cadence until `quiet`; another one stops it.
 *
 * @param {keyof typeof CADENCES} name
 */
export function sound(name) {
  quiet();
  const { tones, on, off, gain } = CADENCES[name];
  const out = audio();
  const level = out.createGain();
  level.gain.value = 0;
  level.connect(out.destination);
  const sources = tones.map((frequency) => {
    const source = out.createOscillator();
    source.frequency.value = frequency;
    source.connect(level);
    source.start();
    return source;
  });
  const burst = () => {
    const now = out.currentTime;
    level.gain.cancelScheduledValues(now);
    level.gain.setTargetAtTime(gain, now, 0.02);
    level.gain.setTargetAtTime(0, now + on, 0.04);
  };
  burst();
  const timer = setInterval(burst, (on + off) * 1000);
  silence = () => {
    clearInterval(timer);
    level.gain.cancelScheduledValues(out.currentTime);
    level.gain.setTargetAtTime(0, out.currentTime, 0.02);
    setTimeout(() => {
      for (const source of sources) source.stop();
      level.disconnect();
    }, 120);
  };
}

/** End what sounds. */
export function quiet() {
  silence?.();
  silence = null;
}
