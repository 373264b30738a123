// Copies of float32 arrays for the benchmark, beside memcpy: a plain loop, and stores that go past the caches; and
// sums written like that, which read and write what gradients do. Compiled by copies.ts into a temporary folder. They take (to,
// from) or (to, a, b), Float32Arrays of one length; they check nothing.
#include <node_api.h>
#include <stdint.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

// How many elements each of the arrays has; 0 where they cannot be read.
static size_t operands(napi_env env, napi_callback_info info, float** arrays, size_t count) {
  size_t argc = count, n = 0;
  napi_value argv[3];
  napi_typedarray_type type;
  if (napi_get_cb_info(env, info, &argc, argv, NULL, NULL) != napi_ok || argc != count) return 0;
  for (size_t i = 0; i < count; i++)
    if (napi_get_typedarray_info(env, argv[i], &type, &n, (void**)&arrays[i], NULL, NULL) != napi_ok) return 0;
  return n;
}

// Without the attribute GCC makes a call of memcpy of it.
__attribute__((optimize("no-tree-loop-distribute-patterns"))) static void loop(float* restrict to,
                                                                               const float* restrict from, size_t n) {
  for (size_t i = 0; i < n; i++) to[i] = from[i];
}

static napi_value call_loop(napi_env env, napi_callback_info info) {
  float* all[2];
  const size_t n = operands(env, info, all, 2);
  if (n) loop(all[0], all[1], n);
  return NULL;
}

#if defined(__x86_64__)
// Up to where `to` is aligned, then whole vectors, then the rest. Of two arrays, what comes 4 KB later is asked for: the
// CPU follows one by itself (measured).
#define STREAM(name, isa, vector, load, add, store)                                                                \
  __attribute__((target(isa))) static void stream_##name(float* to, const float* from, size_t n) {                 \
    size_t i = 0;                                                                                                  \
    for (; i < n && ((uintptr_t)(to + i) & 63) != 0; i++) to[i] = from[i];                                         \
    for (; i + 16 <= n; i += 16)                                                                                   \
      for (size_t k = 0; k < 16; k += sizeof(vector) / 4) store(to + i + k, load(from + i + k));                   \
    for (; i < n; i++) to[i] = from[i];                                                                            \
    _mm_sfence();                                                                                                  \
  }                                                                                                                \
  __attribute__((target(isa))) static void add_##name(float* to, const float* a, const float* b, size_t n) {       \
    size_t i = 0;                                                                                                  \
    for (; i < n && ((uintptr_t)(to + i) & 63) != 0; i++) to[i] = a[i] + b[i];                                     \
    for (; i + 16 <= n; i += 16) {                                                                                 \
      _mm_prefetch((const char*)(a + i + 1024), _MM_HINT_T0);                                                      \
      _mm_prefetch((const char*)(b + i + 1024), _MM_HINT_T0);                                                      \
      for (size_t k = 0; k < 16; k += sizeof(vector) / 4) store(to + i + k, add(load(a + i + k), load(b + i + k))); \
    }                                                                                                              \
    for (; i < n; i++) to[i] = a[i] + b[i];                                                                        \
    _mm_sfence();                                                                                                  \
  }
STREAM(sse2, "sse2", __m128, _mm_loadu_ps, _mm_add_ps, _mm_stream_ps)
STREAM(avx2, "avx2", __m256, _mm256_loadu_ps, _mm256_add_ps, _mm256_stream_ps)
STREAM(avx512, "avx512f", __m512, _mm512_loadu_ps, _mm512_add_ps, _mm512_stream_ps)
#define BEST(name)                                            \
  (__builtin_cpu_supports("avx512f") ? name##_avx512          \
                                     : __builtin_cpu_supports("avx2") ? name##_avx2 : name##_sse2)

static napi_value call_stream(napi_env env, napi_callback_info info) {
  float* all[2];
  const size_t n = operands(env, info, all, 2);
  if (n) BEST(stream)(all[0], all[1], n);
  return NULL;
}

static napi_value call_add(napi_env env, napi_callback_info info) {
  float* all[3];
  const size_t n = operands(env, info, all, 3);
  if (n) BEST(add)(all[0], all[1], all[2], n);
  return NULL;
}
#endif

static void export(napi_env env, napi_value exports, const char* name, napi_callback call) {
  napi_value function;
  if (napi_create_function(env, name, NAPI_AUTO_LENGTH, call, NULL, &function) == napi_ok)
    napi_set_named_property(env, exports, name, function);
}

NAPI_MODULE_INIT() {
  export(env, exports, "loop", call_loop);
#if defined(__x86_64__)
  export(env, exports, "stream", call_stream);
  export(env, exports, "add", call_add);
#endif
  return exports;
}
