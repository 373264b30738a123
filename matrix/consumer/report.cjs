// What a consumer sees: which backend runs, where it comes from, and whether its bits are those of evenkeel/js.
exports.report = (evenkeel, plain) => {
  const x = Float32Array.from({ length: 3 * 768 }, (_, i) => Math.sin(i) * 10 ** (i % 9))
  const same = Buffer.from(evenkeel.layerNorm(x, 768).buffer).equals(Buffer.from(plain.layerNorm(x, 768).buffer))
  const { backend, loadedFrom, failures } = evenkeel.backendInfo()
  console.log(JSON.stringify({ backend, loadedFrom, failures, same, plain: plain.backend }))
}
