// Runs beside the sound: hands it on in blocks of 32 ms, as 16-bit samples, with when they ended and how loud they are.

const BLOCK = 512;

class Tap extends AudioWorkletProcessor {
  constructor() {
    super();
    this.start();
  }

  start() {
    this.samples = new Int16Array(BLOCK);
    this.filled = 0;
    this.energy = 0;
  }

  process([[channel]]) {
    if (!channel) return true;
    channel.forEach((value, index) => {
      this.samples[this.filled++] = Math.max(-32768, Math.min(32767, value * 32768));
      this.energy += value * value;
      if (this.filled === BLOCK) this.hand(index + 1);
    });
    return true;
  }

  hand(index) {
    const endS = (currentFrame + index) / sampleRate;
    const effective = Math.sqrt(this.energy / BLOCK);
    this.port.postMessage({ samples: this.samples, endS, effective }, [this.samples.buffer]);
    this.start();
  }
}

registerProcessor("tap", Tap);
