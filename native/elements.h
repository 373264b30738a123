// The types of elements in memory, one row each: name, type, and the kind of JavaScript's array. Tables, exports and
// readers expand them; the kernels are templates over the type.
#pragma once

#define EVENKEEL_ELEMENTS(ELEMENT) ELEMENT(float32, float, Float32Array)
