// WAV files with one tone each, for Chromium's fake microphone.
import { renameSync, writeFileSync } from "node:fs";

const RATE = 48000;
const SECONDS = 4;

/**
 * A sine of a whole number of periods, so that Chromium, which plays the file over and over, makes no click at the seam.
 *
 * @param {string} path
 * @param {number} frequency  in whole Hz
 * @param {number} amplitude  1 = full scale
 */
export function writeTone(path, frequency, amplitude = 0.1) {
  const samples = RATE * SECONDS;
  const wav = Buffer.alloc(44 + samples * 2);
  wav.write("RIFF", 0);
  wav.writeUInt32LE(36 + samples * 2, 4);
  wav.write("WAVEfmt ", 8);
  wav.writeUInt32LE(16, 16);
  wav.writeUInt16LE(1, 20); // PCM
  wav.writeUInt16LE(1, 22); // mono
  wav.writeUInt32LE(RATE, 24);
  wav.writeUInt32LE(RATE * 2, 28);
  wav.writeUInt16LE(2, 32);
  wav.writeUInt16LE(16, 34);
  wav.write("data", 36);
  wav.writeUInt32LE(samples * 2, 40);
  for (let i = 0; i < samples; i += 1) {
    wav.writeInt16LE(Math.round(Math.sin((2 * Math.PI * frequency * i) / RATE) * amplitude * 32767), 44 + i * 2);
  }
  // Whole at once: another test file may be looking for it.
  writeFileSync(`${path}.${process.pid}`, wav);
  renameSync(`${path}.${process.pid}`, path);
}
