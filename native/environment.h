// What belongs to one environment of Node.js: the main thread's, or that of a worker.
#pragma once

#include <node_api.h>

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

#include "threads.h"

namespace evenkeel {
namespace {

// Memory that the addon owns and JavaScript sees: operands that are too small to be worth asking Node-API for their
// addresses are copied in and out. It is never freed, only used again by the next environment, so that nothing that
// refers to it can outlive it.
struct Arena {
  static constexpr size_t length = 1 << 16;

  float floats[length];
  Arena* next;
};

std::atomic_flag arenas_locked = ATOMIC_FLAG_INIT;
Arena* free_arenas = nullptr;

class ArenasLock {
 public:
  ArenasLock() {
    while (arenas_locked.test_and_set(std::memory_order_acquire)) {
    }
  }
  ~ArenasLock() { arenas_locked.clear(std::memory_order_release); }
};

Arena* take_arena() {
  const ArenasLock lock;
  Arena* arena = free_arenas;
  if (arena) free_arenas = arena->next;
  return arena ? arena : static_cast<Arena*>(std::calloc(1, sizeof(Arena)));
}

void give_back_arena(void* gone) {
  const ArenasLock lock;
  auto* arena = static_cast<Arena*>(gone);
  arena->next = free_arenas;
  free_arenas = arena;
}

struct Environment {
  Arena* arena;
  JobOwner jobs{};
  napi_threadsafe_function finished = nullptr;  // takes finished jobs to JavaScript; made with the first job
  size_t pending = 0;                           // jobs that JavaScript waits for
  napi_ref structured_clone = nullptr;          // as it was when the addon was loaded; null where there was none
};

// null where there is no memory.
Environment* make_environment(napi_env env) {
  Arena* arena = take_arena();
  void* memory = arena ? std::malloc(sizeof(Environment)) : nullptr;
  if (!memory) return nullptr;
  auto* environment = new (memory) Environment{arena};
  const auto release = [](void* gone) {
    give_back_arena(static_cast<Environment*>(gone)->arena);
    std::free(gone);
  };
  napi_add_env_cleanup_hook(env, release, environment);
  napi_value global = nullptr, clone = nullptr;
  napi_valuetype kind = napi_undefined;
  napi_get_global(env, &global);
  napi_get_named_property(env, global, "structuredClone", &clone);
  napi_typeof(env, clone, &kind);
  if (kind == napi_function) napi_create_reference(env, clone, 1, &environment->structured_clone);
  return environment;
}

}  // namespace
}  // namespace evenkeel
