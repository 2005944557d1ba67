import assert from "node:assert/strict";
import test from "node:test";
import { prefer } from "../static/media.js";

const codecs = ["video/VP8", "video/rtx", "video/VP9", "video/H264", "video/H264", "video/AV1", "video/red", "video/ulpfec"].map((mimeType) => ({ mimeType }));

test("prefer keeps the codec and the repair formats, and nothing else", () => {
  assert.deepEqual(prefer(codecs, "h264").map((c) => c.mimeType), ["video/H264", "video/H264", "video/rtx", "video/red", "video/ulpfec"]);
});

test("prefer tells when the browser lacks the codec", () => {
  assert.equal(prefer(codecs, "H265"), null);
});
