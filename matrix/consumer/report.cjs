// What a consumer sees: which backend runs, where it comes from, and whether its bits are those of evenkeel/js; those of
// several threads, and of calls in the background with memory of each kind, too.
// `checkFloat16` is that of float16.cjs: Deno reads a file that is required only where it may read.
exports.report = async (evenkeel, plain, checkFloat16) => {
  const make = rows => Float32Array.from({ length: rows * 768 }, (_, i) => Math.sin(i) * 10 ** (i % 9))
  const bytes = array => Buffer.from(array.buffer, array.byteOffset, array.byteLength)
  const equal = (a, b) => bytes(a).equals(bytes(b))
  const x = make(3)
  const large = make(300)
  const expected = plain.layerNorm(large, 768)
  evenkeel.setNumThreads(4)
  const layer = new evenkeel.LayerNorm(768)
  const shared = new Float32Array(new SharedArrayBuffer(large.byteLength))
  shared.set(large)
  const later = [layer.forwardAsync(large), layer.forwardAsync(large.slice(), { transfer: true })]
  const y = [layer.forward(large), ...(await Promise.all(later)), await layer.forwardAsync(shared, { out: shared })]
  const same = equal(evenkeel.layerNorm(x, 768), plain.layerNorm(x, 768)) && y.every(one => equal(one, expected))
  const { backend, loadedFrom, failures } = evenkeel.backendInfo()
  const float16 = await checkFloat16(evenkeel)
  await checkFloat16(plain)
  console.log(JSON.stringify({ backend, loadedFrom, failures, same, plain: plain.backend, float16 }))
}
