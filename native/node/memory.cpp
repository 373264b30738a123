// What node-addon-api asks of the C++ library, by malloc and free: the one Linux binary needs nothing but libc and
// libm.
#include <cstdlib>
#include <new>

void* operator new(size_t size) {
  void* memory = std::malloc(size > 0 ? size : 1);
  if (!memory) std::abort();  // there are no exceptions
  return memory;
}
void* operator new[](size_t size) { return operator new(size); }
void* operator new(size_t size, const std::nothrow_t&) noexcept { return std::malloc(size > 0 ? size : 1); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }

#if defined(__ELF__)
// <new> declares them visible, and no attribute takes that back: no other library may find these.
__asm__(
    ".hidden _Znwm\n.hidden _Znam\n.hidden _ZnwmRKSt9nothrow_t\n"
    ".hidden _ZdlPv\n.hidden _ZdlPvm\n.hidden _ZdaPv\n.hidden _ZdaPvm");
#endif

#if defined(__GNUC__)
extern "C" void __cxa_pure_virtual() { std::abort(); }
#endif
