// Numbers of 16 bits (rule 19), one at a time. The twin of src/kernels/float16.ts. Included by portable.cpp alone: the
// other instruction sets convert vectors.

// Of float32, without the function of C++ that would be shared with other files.
inline float absolute(float a) { return static_cast<float>(std::fabs(static_cast<double>(a))); }

// The bits of a float16: the nearest, ties to even; beyond the largest Inf; one NaN.
inline uint32_t to_float16(float value) {
  // Below 2^-14 the steps are 2^-24, and this addition rounds to them.
  const float shifted = absolute(value) + 0.5f;
  uint32_t bits, small;
  std::memcpy(&bits, &value, sizeof bits);
  std::memcpy(&small, &shifted, sizeof small);
  const uint32_t sign = bits >> 16 & 0x8000;
  // Signed: it is below 2^31, and vectors compare these.
  const auto size = static_cast<int32_t>(bits & 0x7fffffff);
  const uint32_t normal = (static_cast<uint32_t>(size) + 0xc8000fff + (static_cast<uint32_t>(size) >> 13 & 1)) >> 13;
  uint32_t out = size < 0x38800000 ? small - 0x3f000000 : normal;
  out = size >= 0x477ff000 ? 0x7c00u : out;
  return size > 0x7f800000 ? 0x7e00u : out | sign;
}

// The same of a bfloat16.
inline uint32_t to_bfloat16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  return static_cast<int32_t>(bits & 0x7fffffff) > 0x7f800000 ? 0x7fc0u : rounded;
}

// The number that the bits of a float16 are.
inline float from_float16(uint32_t code) {
  const uint32_t sign = (code & 0x8000) << 16, size = code & 0x7fff;
  // Moved to where float32 has them, they are 2^-112 of the number: exactly, but for Inf and NaN.
  const uint32_t moved = size << 13;
  float value;
  std::memcpy(&value, &moved, sizeof value);
  value = value * 0x1p112f;
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  bits = (size >= 0x7c00 ? moved | 0x7f800000 : bits) | sign;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// The same of a bfloat16.
inline float from_bfloat16(uint32_t code) {
  const uint32_t bits = code << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
