// Calls that run in a thread of the pool while JavaScript goes on.
//
// JavaScript may detach, transfer, resize or drop a buffer at any time, so a call takes its memory over: an ArrayBuffer
// is transferred to one that only this call knows, and given back in the end. The memory of a SharedArrayBuffer cannot
// be taken away and is only held. What an array's elements are never decides where a kernel reads or writes.
#pragma once

#include <napi.h>

#include <cstdio>
#include <cstdlib>
#include <new>
#include <tuple>

#include "../threads/divide.h"
#include "../threads/pool.h"
#include "arguments.h"
#include "environment.h"
#include "readers.h"

EVENKEEL_SMALL_BEGIN

namespace evenkeel {
namespace {

// A kernel, and the environment that it is called from.
template <class... Operands>
struct Kernel {
  const char* name;
  void (*run)(Operands...);
  Environment* environment;
  const KernelTables* tables;
};

struct BackgroundJob : Job {
  Environment* environment;
  napi_deferred promise;
  napi_ref buffers;  // an array of them that nothing else knows
  void* spans;
  Staging* staging;  // null where all is dense float32
};

constexpr const char* no_staging = "shape expected memory to work in";

// What a call has beside its operands: null where all is dense float32. An error where there is no memory for it.
template <class... Operands>
EVENKEEL_RARE Staging* new_staging(Arguments& arguments, const KernelTables& tables, std::tuple<Operands...>& operands,
                                   size_t threads) {
  if (!arguments.storages.any) return nullptr;
  void* memory = std::malloc(sizeof(Staging));
  auto* staging = memory ? new (memory) Staging(arguments.storages, tables) : nullptr;
  if (!staging || !stage(*staging, operands, threads)) arguments.fail(no_staging);
  return staging;
}

void end_staging(Staging* staging) {
  if (!staging) return;
  staging->~Staging();
  std::free(staging);
}

template <class... Operands>
struct BackgroundCall : BackgroundJob {
  void (*kernel)(Operands...);
  std::tuple<Operands...> operands;
};

void release_job(Job* job) {
  auto* own = static_cast<BackgroundJob*>(job);
  std::free(own->spans);
  end_staging(own->staging);
  std::free(own);
}

// In the thread of JavaScript: resolves the promise with the buffers. env is null when the environment ends.
void settle(napi_env env, napi_value, void*, void* data) {
  auto* job = static_cast<BackgroundJob*>(static_cast<Job*>(data));
  if (env) {
    Environment* environment = job->environment;
    napi_value buffers = nullptr;
    napi_get_reference_value(env, job->buffers, &buffers);
    napi_delete_reference(env, job->buffers);
    napi_resolve_deferred(env, job->promise, buffers);
    if (--environment->pending == 0) napi_unref_threadsafe_function(env, environment->finished);
  }
  release_job(job);
}

// Threads that may help the caller's, which JavaScript waits for.
size_t helpers() {
  const size_t n = get_threads();
  return n > 1 ? n - 1 : 0;
}

template <class... Operands>
EVENKEEL_RARE void run_job(Job* job) {
  auto* call = static_cast<BackgroundCall<Operands...>*>(job);
  // One thread is left to JavaScript.
  const size_t others = helpers();
  run_divided(call->kernel, call->operands, others > 1 ? others - 1 : 0, call->staging);
  napi_call_threadsafe_function(call->environment->finished, static_cast<Job*>(call), napi_tsfn_nonblocking);
}

// Gives an object a property of its own. To set one would ask the setters that scripts may have put on prototypes, and
// show them the memory.
void define(Napi::Object object, const char* name, napi_value value) {
  object.DefineProperty(Napi::PropertyDescriptor::Value(
      name, value, static_cast<napi_property_attributes>(napi_writable | napi_enumerable | napi_configurable)));
}

void define_element(Napi::Object array, size_t index, napi_value value) {
  char name[24];
  std::snprintf(name, sizeof name, "%u", static_cast<unsigned>(index));
  define(array, name, value);
}

// Transfers the ArrayBuffers of a call, all by one clone: none is detached where one of them cannot be. Returns the
// array of all its buffers, or null with an exception pending.
napi_value take_over(Napi::Env env, const Environment& environment, Kept& kept) {
  const Napi::Array transfer = Napi::Array::New(env);
  size_t number[Kept::most];  // of each in the transfer
  size_t count = 0;
  for (size_t i = 0; i < kept.count; ++i) {
    const Kept::Buffer& buffer = kept.buffers[i];
    if (!buffer.data) continue;
    size_t before = 0;
    while (kept.buffers[before].data != buffer.data) ++before;
    number[i] = before < i ? number[before] : count++;
    if (before == i) define_element(transfer, number[i], buffer.value);
  }
  napi_value taken = nullptr;
  if (count > 0) {
    napi_value clone = nullptr;
    napi_get_reference_value(env, environment.structured_clone, &clone);
    const Napi::Object options = Napi::Object::New(env);
    define(options, "transfer", transfer);
    const napi_value arguments[2] = {transfer, options};
    if (napi_call_function(env, env.Undefined(), clone, 2, arguments, &taken) != napi_ok) return nullptr;
  }
  const Napi::Array out = Napi::Array::New(env);
  for (size_t i = 0; i < kept.count; ++i) {
    Kept::Buffer& buffer = kept.buffers[i];
    if (buffer.data) {
      bool detached = false;
      napi_is_detached_arraybuffer(env, buffer.value, &detached);
      if (!detached || napi_get_element(env, taken, static_cast<uint32_t>(number[i]), &buffer.value) != napi_ok) {
        buffer.value = env.Undefined();
      }
      bool thrown = false;
      napi_is_exception_pending(env, &thrown);
      if (thrown) return nullptr;
    }
    define_element(out, i, buffer.value);
  }
  // A promise that is resolved with it asks for `then`: a getter of a prototype would be shown the buffers.
  out.DefineProperty(Napi::PropertyDescriptor::Value("then", env.Undefined(), napi_default));
  // All at the end: what clones could be any function.
  for (size_t i = 0; i < kept.count; ++i) {
    const Kept::Buffer& buffer = kept.buffers[i];
    void* data = nullptr;
    size_t bytes = 0;
    if (!buffer.data) continue;
    if (napi_get_arraybuffer_info(env, buffer.value, &data, &bytes) != napi_ok || data != buffer.data ||
        bytes != buffer.bytes) {
      napi_throw_error(env, nullptr, "evenkeel: structuredClone expected to return the same memory, got other");
      return nullptr;
    }
  }
  return out;
}

// The queue through which finished jobs come back, where there is none yet.
bool open_queue(Napi::Env env, Environment* environment) {
  if (environment->finished) return true;
  if (napi_create_threadsafe_function(env, nullptr, nullptr, Napi::String::New(env, "evenkeel"), 0, 1, nullptr, nullptr,
                                      nullptr, settle, &environment->finished) != napi_ok) {
    return false;
  }
  napi_unref_threadsafe_function(env, environment->finished);
  // Hooks run last in, first out: this one while the queue is still there. No job outlives it.
  const auto end = [](void* ending) { end_jobs(&static_cast<Environment*>(ending)->jobs, release_job); };
  napi_add_env_cleanup_hook(env, end, environment);
  return true;
}

// The same arguments as the kernel. Returns a promise of the arrays' buffers, one for each array in turn.
template <class... Operands>
EVENKEEL_RARE napi_value start(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  const auto* kernel = static_cast<const Kernel<Operands...>*>(arguments.data);
  Environment* environment = kernel->environment;
  Kept kept;
  arguments.keep_arrays(&kept);
  using Call = BackgroundCall<Operands...>;
  std::tuple<Operands...> operands;
  const Reading reading = read(arguments, operands);
  if (reading == Reading::empty) arguments.fail("shape expected at least one element");
  if (!environment->structured_clone) arguments.fail("the runtime expected a global structuredClone");
  Staging* const staging = arguments.error ? nullptr : new_staging(arguments, *kernel->tables, operands, helpers() + 1);
  if (arguments.error) {
    end_staging(staging);
    return refuse(env, kernel->name, arguments);
  }
  void* memory = open_queue(env, environment) ? std::malloc(sizeof(Call)) : nullptr;
  if (!memory) {
    end_staging(staging);
    napi_throw_error(env, nullptr, "evenkeel: no memory for a job");
    return nullptr;
  }
  auto* call = new (memory) Call{};
  const napi_value buffers = take_over(env, *environment, kept);
  napi_value promise = nullptr;
  if (!buffers || napi_create_reference(env, buffers, 1, &call->buffers) != napi_ok ||
      napi_create_promise(env, &call->promise, &promise) != napi_ok) {
    end_staging(staging);
    std::free(call);
    return nullptr;
  }
  call->staging = staging;
  call->run = run_job<Operands...>;
  call->owner = &environment->jobs;
  call->environment = environment;
  call->spans = arguments.release_copy();
  call->kernel = kernel->run;
  call->operands = operands;
  if (environment->pending++ == 0) napi_ref_threadsafe_function(env, environment->finished);
  if (!add_job(call)) run_job<Operands...>(call);
  return promise;
}

}  // namespace
}  // namespace evenkeel

EVENKEEL_SMALL_END
