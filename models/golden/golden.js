// Makes models/testdata/golden: what the original says, in TensorFlow.js on
// its plain JavaScript backend, about the fixtures and three made pictures.
//
//   cd models/golden && npm ci && node golden.js
//
// For each picture and model the JSON holds the SHA-256 of the original's
// resized input rounded to bytes (RGB, HWC), the scores of exactly these
// bytes, and the scores of the original's own, unrounded path.
'use strict';
const fs = require('fs');
const path = require('path');
const crypto = require('crypto');
const { PNG } = require('pngjs');
const tf = require('@tensorflow/tfjs');
const nsfwjs = require('nsfwjs');

const fixtures = path.join(__dirname, '../../internal/synthetic/fixtures');
const out = path.join(__dirname, '../testdata/golden');
const models = [
  { name: 'mobilenet_v2', load: 'MobileNetV2', size: 224 },
  { name: 'inception_v3', load: 'InceptionV3', size: 299 },
];
const labels = ['Drawing', 'Hentai', 'Neutral', 'Porn', 'Sexy'];

// noise is a small fixed generator (xorshift32): the same pictures everywhere.
function noise(seed) {
  let x = seed;
  return () => {
    x ^= x << 13; x ^= x >>> 17; x ^= x << 5; x >>>= 0;
    return x;
  };
}

// made draws a picture from integers alone: sky and ground, skin-like
// gradients with sensor noise, and a fine texture.
const made = {
  made_scene: [320, 240, (x, y, n) => {
    const sky = y < 110 + ((x * 7) % 31);
    const g = n() % 17;
    return sky ? [90 + (y >> 1) + g, 140 + (y >> 1) + g, 220 + (g >> 1)]
      : [60 + (x >> 3) + g, 110 + ((x ^ y) & 31) + g, 40 + g];
  }],
  made_portrait: [240, 320, (x, y, n) => {
    const dx = x - 120, dy = y - 140, d = dx * dx + (dy * dy * 5 >> 3);
    const g = n() % 13;
    return d < 5200 ? [224 - (d >> 7) + g, 172 - (d >> 6) + g, 140 - (d >> 6) + g]
      : [70 + (y >> 3) + g, 72 + (y >> 3) + g, 80 + (x >> 3) + g];
  }],
  made_texture: [161, 97, (x, y, n) => [(x * y) & 255, (x * 3 + y * 5) & 255, n() & 255]],
};

function draw(name) {
  const [width, height, at] = made[name];
  const png = new PNG({ width, height, colorType: 2 });
  const next = noise(20240607);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const rgb = at(x, y, next);
      for (let c = 0; c < 3; c++) png.data[(y * width + x) * 4 + c] = Math.min(255, Math.max(0, rgb[c]));
      png.data[(y * width + x) * 4 + 3] = 255;
    }
  }
  return PNG.sync.write(png, { colorType: 2 });
}

function rgbTensor(bytes) {
  const png = PNG.sync.read(bytes);
  const rgb = new Int32Array(png.width * png.height * 3);
  for (let i = 0; i < png.width * png.height; i++) {
    for (let c = 0; c < 3; c++) rgb[i * 3 + c] = png.data[i * 4 + c];
  }
  return tf.tensor3d(rgb, [png.height, png.width, 3], 'int32');
}

async function main() {
  await tf.setBackend('cpu');
  fs.mkdirSync(out, { recursive: true });
  const pictures = {};
  for (const f of fs.readdirSync(fixtures).filter((f) => f.endsWith('.png')).sort()) {
    pictures[f] = fs.readFileSync(path.join(fixtures, f));
  }
  for (const name of Object.keys(made)) {
    pictures[name + '.png'] = draw(name);
    fs.writeFileSync(path.join(out, name + '.png'), pictures[name + '.png']);
  }
  const result = { labels, models: {} };
  for (const m of models) {
    const net = await nsfwjs.load(m.load);
    result.models[m.name] = {};
    for (const [file, bytes] of Object.entries(pictures)) {
      const img = rgbTensor(bytes);
      const resized = tf.image.resizeBilinear(img.toFloat().div(tf.scalar(255)), [m.size, m.size], true);
      const u8 = Uint8Array.from(resized.dataSync(), (v) => Math.round(v * 255));
      const fed = tf.tensor3d(Int32Array.from(u8), [m.size, m.size, 3], 'int32');
      result.models[m.name][file] = {
        tensor_sha256: crypto.createHash('sha256').update(u8).digest('hex'),
        scores: Array.from(net.infer(fed).dataSync()),
        unrounded: Array.from(net.infer(img).dataSync()),
      };
      console.log(m.name, file, JSON.stringify(result.models[m.name][file]));
    }
  }
  fs.writeFileSync(path.join(out, 'golden.json'), JSON.stringify(result, null, 1) + '\n');
}

main();
