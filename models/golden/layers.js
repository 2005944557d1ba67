// Makes models/testdata/golden/layers.json: two small random networks that use
// every layer the converter knows in its odd corners (odd sizes, "same" with
// strides, padding before pooling, normalisation after an activation, flatten
// of more than one pixel), and what TensorFlow.js answers to one input.
//
//   cd models/golden && npm ci && node layers.js
'use strict';
const fs = require('fs');
const path = require('path');
const tf = require('@tensorflow/tfjs');

let seed = 20240607;
function random() { // xorshift32, in [-1, 1)
  seed ^= seed << 13; seed ^= seed >>> 17; seed ^= seed << 5; seed >>>= 0;
  return seed / 2147483648 - 1;
}

function wide() {
  const L = tf.layers;
  const input = tf.input({ shape: [17, 17, 3] });
  const a = L.conv2d({ filters: 6, kernelSize: 3, strides: 2, padding: 'same', activation: 'relu' }).apply(input);
  const bn = L.batchNormalization({ epsilon: 0.01 }).apply(a); // 9×9, not foldable
  const dw = L.depthwiseConv2d({ kernelSize: 3, depthMultiplier: 2, strides: 2, padding: 'same', useBias: true }).apply(bn); // 5×5×12
  const dwn = L.batchNormalization({ scale: false }).apply(dw);
  const r = L.reLU({ maxValue: 6 }).apply(dwn);
  const p = L.zeroPadding2d({ padding: [[0, 1], [1, 0]] }).apply(r); // 6×6
  const mp = L.maxPooling2d({ poolSize: 2, strides: 2, padding: 'valid' }).apply(p); // 3×3
  const pv = L.conv2d({ filters: 12, kernelSize: 2, strides: 2, padding: 'valid', useBias: false }).apply(p); // 3×3
  const av = L.averagePooling2d({ poolSize: 3, strides: 2, padding: 'same' }).apply(r); // 3×3
  const sum = L.add().apply([mp, pv, av]);
  const c1 = L.conv2d({ filters: 5, kernelSize: [1, 3], padding: 'same', activation: 'sigmoid' }).apply(sum);
  const cat = L.concatenate({ axis: 3 }).apply([sum, c1]);
  const flat = L.flatten().apply(cat); // 3×3×17
  const d = L.dense({ units: 9, activation: 'relu6' }).apply(flat);
  const out = L.dense({ units: 4, activation: 'softmax' }).apply(L.dropout({ rate: 0.5 }).apply(d));
  return tf.model({ inputs: input, outputs: out });
}

function tall() {
  const L = tf.layers;
  const input = tf.input({ shape: [16, 16, 3] });
  const a = L.conv2d({ filters: 8, kernelSize: 3, padding: 'valid', dilationRate: 2 }).apply(input); // 12×12
  const n = L.reLU().apply(L.batchNormalization({ center: false }).apply(a));
  const m = L.maxPooling2d({ poolSize: 3, strides: 2, padding: 'same' }).apply(n); // 6×6
  const z = L.zeroPadding2d({ padding: [[1, 1], [1, 1]] }).apply(m);
  const dw = L.depthwiseConv2d({ kernelSize: 3, padding: 'valid', useBias: false }).apply(z);
  const s = L.add().apply([m, L.activation({ activation: 'relu' }).apply(L.batchNormalization().apply(dw))]);
  const b = L.conv2d({ filters: 8, kernelSize: 4, strides: 3, padding: 'same' }).apply(L.zeroPadding2d({ padding: [[1, 0], [0, 2]] }).apply(s));
  const g = L.globalAveragePooling2d({}).apply(s);
  const both = L.concatenate().apply([g, L.globalAveragePooling2d({}).apply(b)]);
  const norm = L.batchNormalization().apply(both);
  const out = L.softmax().apply(L.dense({ units: 4 }).apply(norm));
  return tf.model({ inputs: input, outputs: out });
}

async function describe(model, size) {
  for (const layer of model.layers) {
    layer.setWeights(layer.weights.map((w) => tf.tensor(
      Array.from({ length: w.shape.reduce((a, b) => a * b, 1) }, () => (
        w.name.includes('moving_variance') ? 0.5 + 0.4 * random() : 0.5 * random())), w.shape)));
  }
  let saved;
  await model.save(tf.io.withSaveHandler(async (artifacts) => { saved = artifacts; return {}; }));
  const bytes = Uint8Array.from({ length: size * size * 3 }, () => Math.floor((random() + 1) * 128));
  const x = tf.tensor4d(Float32Array.from(bytes, (v) => v / 255), [1, size, size, 3]);
  return {
    size,
    file: {
      modelTopology: { model_config: saved.modelTopology },
      weightsManifest: [{ paths: ['shard'], weights: saved.weightSpecs }],
    },
    shard: Buffer.from(saved.weightData).toString('base64'),
    input: Buffer.from(bytes).toString('base64'),
    scores: Array.from(model.predict(x).dataSync()),
  };
}

async function main() {
  await tf.setBackend('cpu');
  const out = { wide: await describe(wide(), 17), tall: await describe(tall(), 16) };
  fs.writeFileSync(path.join(__dirname, '../testdata/golden/layers.json'), JSON.stringify(out, null, 1) + '\n');
  console.log(out.wide.scores, out.tall.scores);
}

main();
