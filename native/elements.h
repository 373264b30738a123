// The types of elements in memory. Kernels compute with float32, and are templates over the type: tables, exports and
// readers expand the list of those types, name, type, and the kind of JavaScript's array. Elements of 16 bits are
// brought into float32 and back, some at a time (threads/stage.h), by what each ISA file has for them.
#pragma once

#include <cstddef>
#include <cstdint>

#define EVENKEEL_ELEMENTS(ELEMENT) ELEMENT(float32, float, Float32Array)

namespace evenkeel {

// The bits of an IEEE binary16, and the upper half of those of a float32.
struct Float16 {
  uint16_t bits;
};
struct Bfloat16 {
  uint16_t bits;
};

// Those of 16 bits, one row each.
#define EVENKEEL_ELEMENTS_OF_16_BITS(ELEMENT) ELEMENT(float16, Float16) ELEMENT(bfloat16, Bfloat16)

// The type of an array's elements. The numbers are those of src/kernels/elements.ts.
enum class ElementType : uint8_t {
  float32,
#define EVENKEEL_NAME(name, type) name,
  EVENKEEL_ELEMENTS_OF_16_BITS(EVENKEEL_NAME)
#undef EVENKEEL_NAME
};
#define EVENKEEL_ONE(name, type) +1
constexpr size_t types_of_16_bits = EVENKEEL_ELEMENTS_OF_16_BITS(EVENKEEL_ONE);
#undef EVENKEEL_ONE
constexpr size_t element_types = 1 + types_of_16_bits;

constexpr size_t bytes_of(ElementType type) { return type == ElementType::float32 ? sizeof(float) : sizeof(uint16_t); }

}  // namespace evenkeel
