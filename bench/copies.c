// Copies of float32 arrays for the benchmark, beside memcpy: a plain loop, and stores that go past the caches. Compiled
// by copies.ts into a temporary folder. Both take (to, from), Float32Arrays of one length; they check nothing.
#include <node_api.h>
#include <stdint.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

static int operands(napi_env env, napi_callback_info info, float** to, float** from, size_t* n) {
  size_t argc = 2;
  napi_value argv[2];
  napi_typedarray_type type;
  return napi_get_cb_info(env, info, &argc, argv, NULL, NULL) == napi_ok && argc == 2 &&
         napi_get_typedarray_info(env, argv[0], &type, n, (void**)to, NULL, NULL) == napi_ok &&
         napi_get_typedarray_info(env, argv[1], &type, n, (void**)from, NULL, NULL) == napi_ok;
}

// Without the attribute GCC makes a call of memcpy of it.
__attribute__((optimize("no-tree-loop-distribute-patterns"))) static void loop(float* restrict to,
                                                                               const float* restrict from, size_t n) {
  for (size_t i = 0; i < n; i++) to[i] = from[i];
}

static napi_value copy_loop(napi_env env, napi_callback_info info) {
  float *to, *from;
  size_t n;
  if (operands(env, info, &to, &from, &n)) loop(to, from, n);
  return NULL;
}

#if defined(__x86_64__)
// Up to where `to` is aligned, then whole vectors, then the rest.
#define STREAM(name, isa, vector, load, store)                                                   \
  __attribute__((target(isa))) static void name(float* to, const float* from, size_t n) {        \
    size_t i = 0;                                                                                \
    for (; i < n && ((uintptr_t)(to + i) & 63) != 0; i++) to[i] = from[i];                       \
    for (; i + 16 <= n; i += 16)                                                                 \
      for (size_t k = 0; k < 16; k += sizeof(vector) / 4) store(to + i + k, load(from + i + k)); \
    for (; i < n; i++) to[i] = from[i];                                                          \
    _mm_sfence();                                                                                \
  }
STREAM(stream_sse2, "sse2", __m128, _mm_loadu_ps, _mm_stream_ps)
STREAM(stream_avx2, "avx2", __m256, _mm256_loadu_ps, _mm256_stream_ps)
STREAM(stream_avx512, "avx512f", __m512, _mm512_loadu_ps, _mm512_stream_ps)

static napi_value copy_stream(napi_env env, napi_callback_info info) {
  float *to, *from;
  size_t n;
  if (!operands(env, info, &to, &from, &n)) return NULL;
  if (__builtin_cpu_supports("avx512f"))
    stream_avx512(to, from, n);
  else if (__builtin_cpu_supports("avx2"))
    stream_avx2(to, from, n);
  else
    stream_sse2(to, from, n);
  return NULL;
}
#endif

NAPI_MODULE_INIT() {
  napi_value function;
  if (napi_create_function(env, "loop", NAPI_AUTO_LENGTH, copy_loop, NULL, &function) == napi_ok)
    napi_set_named_property(env, exports, "loop", function);
#if defined(__x86_64__)
  if (napi_create_function(env, "stream", NAPI_AUTO_LENGTH, copy_stream, NULL, &function) == napi_ok)
    napi_set_named_property(env, exports, "stream", function);
#endif
  return exports;
}
