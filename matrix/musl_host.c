// A host that is no Node.js: loads the addon with musl's dynamic linker, registers it, and repeats recorded calls of
// its kernels (calls.mjs) on every backend that it offers. Proves that the Linux binary needs nothing of glibc. usage:
// musl_host ADDON.node CALLS
#include <dlfcn.h>
#include <node_api.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct property {
  const char* name;
  napi_value value;
  struct property* next;
};

// A value of JavaScript, as far as the addon makes or reads them.
struct napi_value__ {
  napi_valuetype type;
  double number;
  const char* text;
  struct property* properties;  // of an object, newest first
  napi_value items[64];         // of an array
  uint32_t length;              // of an array or a typed array
  napi_typedarray_type elements;
  bool is_array_buffer;
  void* data;  // of a typed array or an ArrayBuffer; what a function was made with
  napi_callback callback;
};

struct napi_callback_info__ {
  size_t count;
  napi_value* arguments;
  void* data;
};

static napi_value make(napi_valuetype type) {
  napi_value value = calloc(1, sizeof *value);
  value->type = type;
  return value;
}

// --- Node-API, as far as the addon calls it
// ---------------------------------------------------------------------------

napi_status napi_create_object(napi_env env, napi_value* result) {
  (void)env;
  *result = make(napi_object);
  return napi_ok;
}

napi_status napi_create_array(napi_env env, napi_value* result) { return napi_create_object(env, result); }

napi_status napi_create_string_utf8(napi_env env, const char* text, size_t length, napi_value* result) {
  (void)env;
  *result = make(napi_string);
  (*result)->text = length == NAPI_AUTO_LENGTH ? strdup(text) : strndup(text, length);
  return napi_ok;
}

napi_status napi_create_function(napi_env env, const char* name, size_t length, napi_callback callback, void* data,
                                 napi_value* result) {
  (void)env, (void)name, (void)length;
  *result = make(napi_function);
  (*result)->callback = callback;
  (*result)->data = data;
  return napi_ok;
}

napi_status napi_set_named_property(napi_env env, napi_value object, const char* name, napi_value value) {
  (void)env;
  struct property* property = malloc(sizeof *property);
  *property = (struct property){strdup(name), value, object->properties};
  object->properties = property;
  return napi_ok;
}

napi_status napi_set_element(napi_env env, napi_value array, uint32_t index, napi_value value) {
  (void)env;
  if (index >= 64) return napi_generic_failure;
  array->items[index] = value;
  if (index >= array->length) array->length = index + 1;
  return napi_ok;
}

napi_status napi_get_array_length(napi_env env, napi_value array, uint32_t* result) {
  (void)env;
  *result = array->length;
  return napi_ok;
}

napi_status napi_get_cb_info(napi_env env, napi_callback_info info, size_t* count, napi_value* arguments,
                             napi_value* self, void** data) {
  (void)env;
  for (size_t i = 0; i < *count; ++i) arguments[i] = i < info->count ? info->arguments[i] : make(napi_undefined);
  *count = info->count;
  if (self) *self = NULL;
  if (data) *data = info->data;
  return napi_ok;
}

napi_status napi_typeof(napi_env env, napi_value value, napi_valuetype* result) {
  (void)env;
  *result = value->type;
  return napi_ok;
}

napi_status napi_get_typedarray_info(napi_env env, napi_value value, napi_typedarray_type* type, size_t* length,
                                     void** data, napi_value* buffer, size_t* offset) {
  (void)env, (void)buffer, (void)offset;
  if (value->type != napi_object || value->is_array_buffer || !value->data) return napi_invalid_arg;
  if (type) *type = value->elements;
  if (length) *length = value->length;
  if (data) *data = value->data;
  return napi_ok;
}

napi_status napi_get_value_double(napi_env env, napi_value value, double* result) {
  (void)env;
  if (value->type != napi_number) return napi_number_expected;
  *result = value->number;
  return napi_ok;
}

napi_status napi_get_undefined(napi_env env, napi_value* result) {
  (void)env;
  *result = make(napi_undefined);
  return napi_ok;
}

napi_status napi_get_boolean(napi_env env, bool is_true, napi_value* result) {
  (void)env;
  *result = make(napi_boolean);
  (*result)->number = is_true;
  return napi_ok;
}

napi_status napi_is_typedarray(napi_env env, napi_value value, bool* result) {
  *result = napi_get_typedarray_info(env, value, NULL, NULL, NULL, NULL, NULL) == napi_ok;
  return napi_ok;
}

napi_status napi_create_arraybuffer(napi_env env, size_t bytes, void** data, napi_value* result) {
  (void)env;
  *result = make(napi_object);
  (*result)->is_array_buffer = true;
  *data = (*result)->data = calloc(1, bytes + 1);
  return napi_ok;
}

napi_status napi_create_typedarray(napi_env env, napi_typedarray_type type, size_t length, napi_value buffer,
                                   size_t offset, napi_value* result) {
  (void)env;
  *result = make(napi_object);
  (*result)->elements = type;
  (*result)->length = (uint32_t)length;
  (*result)->data = (char*)buffer->data + offset;
  return napi_ok;
}

// As in the runtimes where it takes nothing but a Buffer: the addon must do without.
napi_status napi_get_buffer_info(napi_env env, napi_value value, void** data, size_t* bytes) {
  (void)env, (void)value, (void)data, (void)bytes;
  return napi_invalid_arg;
}

napi_status napi_add_env_cleanup_hook(napi_env env, void (*hook)(void*), void* data) {
  (void)env, (void)hook, (void)data;
  return napi_ok;
}

napi_status napi_throw_error(napi_env env, const char* code, const char* message) {
  (void)env, (void)code;
  fprintf(stderr, "musl_host: the addon threw: %s\n", message);
  exit(1);
}

napi_status napi_adjust_external_memory(napi_env env, int64_t change, int64_t* result) {
  (void)env, (void)change, (void)result;
  return napi_ok;
}

napi_status napi_throw_type_error(napi_env env, const char* code, const char* message) {
  return napi_throw_error(env, code, message);
}

napi_status napi_create_error(napi_env env, napi_value code, napi_value message, napi_value* result) {
  (void)env, (void)code, (void)result;
  return napi_throw_error(env, NULL, message->text);
}

napi_status napi_create_type_error(napi_env env, napi_value code, napi_value message, napi_value* result) {
  return napi_create_error(env, code, message, result);
}

napi_status napi_create_range_error(napi_env env, napi_value code, napi_value message, napi_value* result) {
  return napi_create_error(env, code, message, result);
}

void napi_fatal_error(const char* place, size_t place_length, const char* message, size_t message_length) {
  (void)place, (void)place_length, (void)message_length;
  napi_throw_error(NULL, NULL, message);
  abort();
}

napi_status napi_is_exception_pending(napi_env env, bool* result) {
  (void)env;
  *result = false;
  return napi_ok;
}

napi_status napi_create_double(napi_env env, double number, napi_value* result) {
  (void)env;
  *result = make(napi_number);
  (*result)->number = number;
  return napi_ok;
}

napi_status napi_get_global(napi_env env, napi_value* result) { return napi_create_object(env, result); }

// No global object has a property here: `structuredClone` is for calls in the background.
napi_status napi_get_named_property(napi_env env, napi_value object, const char* name, napi_value* result) {
  (void)object, (void)name;
  return napi_get_undefined(env, result);
}

napi_status napi_get_property(napi_env env, napi_value object, napi_value key, napi_value* result) {
  return napi_get_named_property(env, object, key->text, result);
}

// Nothing is collected here.
napi_status napi_open_handle_scope(napi_env env, napi_handle_scope* result) {
  (void)env, (void)result;
  return napi_ok;
}

napi_status napi_close_handle_scope(napi_env env, napi_handle_scope scope) {
  (void)env, (void)scope;
  return napi_ok;
}

// What only calls in the background need, and errors: none are made here.
napi_status unused(void) { return napi_generic_failure; }
#define UNUSED(name) __asm__(".globl " #name "\n.type " #name ", @function\n.set " #name ", unused");
UNUSED(napi_async_destroy)
UNUSED(napi_call_function)
UNUSED(napi_call_threadsafe_function)
UNUSED(napi_close_callback_scope)
UNUSED(napi_close_escapable_handle_scope)
UNUSED(napi_create_promise)
UNUSED(napi_create_reference)
UNUSED(napi_create_threadsafe_function)
UNUSED(napi_define_properties)
UNUSED(napi_delete_reference)
UNUSED(napi_escape_handle)
UNUSED(napi_get_and_clear_last_exception)
UNUSED(napi_get_arraybuffer_info)
UNUSED(napi_get_element)
UNUSED(napi_get_last_error_info)
UNUSED(napi_get_reference_value)
UNUSED(napi_has_property)
UNUSED(napi_is_arraybuffer)
UNUSED(napi_is_detached_arraybuffer)
UNUSED(napi_open_escapable_handle_scope)
UNUSED(napi_ref_threadsafe_function)
UNUSED(napi_resolve_deferred)
UNUSED(napi_throw)
UNUSED(napi_unref_threadsafe_function)

napi_status napi_add_finalizer(napi_env env, napi_value object, void* data, napi_finalize finalize, void* hint,
                               napi_ref* result) {
  (void)env, (void)object, (void)data, (void)finalize, (void)hint, (void)result;
  return napi_ok;
}

// --- the recorded calls
// -----------------------------------------------------------------------------------------------

static FILE* calls;

static void fail(const char* what, const char* about) {
  fprintf(stderr, "musl_host: %s%s\n", what, about ? about : "");
  exit(1);
}

static void read_bytes(void* into, size_t size) {
  if (fread(into, 1, size, calls) != size) fail("the calls end too soon", NULL);
}

static uint32_t read_word(void) {
  uint32_t word;
  read_bytes(&word, sizeof word);
  return word;
}

static napi_value property(napi_value object, const char* name) {
  for (struct property* one = object->properties; one; one = one->next) {
    if (!strcmp(one->name, name)) return one->value;
  }
  fail("the addon has no ", name);
  return NULL;
}

// The same bits, or NaN both.
static int same(napi_value array, const char* expected) {
  if (array->elements == napi_uint8_array) return memcmp(array->data, expected, array->length) == 0;  // codes
  for (uint32_t i = 0; i < array->length; ++i) {
    if (array->elements == napi_float64_array) {
      double a, b;
      memcpy(&a, (char*)array->data + i * sizeof a, sizeof a);
      memcpy(&b, expected + i * sizeof b, sizeof b);
      if (memcmp(&a, &b, sizeof a) && !(a != a && b != b)) return 0;
    } else {
      float a, b;
      memcpy(&a, (char*)array->data + i * sizeof a, sizeof a);
      memcpy(&b, expected + i * sizeof b, sizeof b);
      if (memcmp(&a, &b, sizeof a) && !(a != a && b != b)) return 0;
    }
  }
  return 1;
}

struct block {
  uint32_t size;
  char *before, *after, *now;
};

// Makes one call on every backend; returns how many differ from what was recorded.
static int repeat(napi_value backends) {
  char name[64] = "";
  const uint32_t name_length = read_word();
  if (name_length >= sizeof name) fail("a name is too long", NULL);
  read_bytes(name, name_length);
  struct block blocks[32];
  const uint32_t block_count = read_word();
  if (block_count > 32) fail("too many arrays in a call of ", name);
  for (uint32_t i = 0; i < block_count; ++i) {
    struct block* block = &blocks[i];
    block->size = read_word();
    block->before = malloc(block->size + 1);
    block->after = malloc(block->size + 1);
    block->now = malloc(block->size + 1);
    read_bytes(block->before, block->size);
    read_bytes(block->after, block->size);
  }
  napi_value arguments[64];
  const char* expected[64] = {0};
  const uint32_t count = read_word();
  if (count > 64) fail("too many arguments in a call of ", name);
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t kind = read_word();
    if (kind != 0 && kind != 2) fail("an argument of an unknown kind in a call of ", name);
    napi_value argument = arguments[i] = make(kind == 0 ? napi_undefined : napi_object);
    if (kind == 2) {
      argument->elements = read_word();
      const struct block* block = &blocks[read_word()];
      const uint32_t offset = read_word();
      argument->length = read_word();
      argument->data = block->now + offset;
      expected[i] = block->after + offset;
    }
  }
  int different = 0;
  for (uint32_t b = 0; b < backends->length; ++b) {
    const napi_value backend = backends->items[b];
    const napi_value kernel = property(property(property(backend, "float32"), "run"), name);
    for (uint32_t i = 0; i < block_count; ++i) memcpy(blocks[i].now, blocks[i].before, blocks[i].size);
    struct napi_callback_info__ info = {count, arguments, kernel->data};
    kernel->callback(NULL, &info);
    for (uint32_t i = 0; i < count; ++i) {
      if (!expected[i] || same(arguments[i], expected[i])) continue;
      printf("%s, argument %u: %s differs\n", name, i + 1, property(backend, "name")->text);
      ++different;
    }
  }
  for (uint32_t i = 0; i < block_count; ++i) free(blocks[i].before), free(blocks[i].after), free(blocks[i].now);
  return different;
}

int main(int argc, char** argv) {
  if (argc != 3) fail("usage: musl_host ADDON.node CALLS", NULL);
  void* addon = dlopen(argv[1], RTLD_NOW);
  if (!addon) fail("dlopen: ", dlerror());
  napi_addon_register_func init = (napi_addon_register_func)dlsym(addon, "napi_register_module_v1");
  if (!init) fail("dlsym: ", dlerror());
  const napi_value exports = init(NULL, make(napi_object));
  const napi_value backends = property(exports, "backends");
  if (backends->length == 0) fail("the addon has no backend", NULL);

  // Some calls are large enough for several threads.
  napi_value four = make(napi_number);
  four->number = 4;
  const napi_value threads = property(exports, "threads");
  struct napi_callback_info__ info = {1, &four, threads->data};
  threads->callback(NULL, &info);

  calls = fopen(argv[2], "rb");
  if (!calls) fail("cannot open ", argv[2]);
  const uint32_t count = read_word();
  int different = 0;
  for (uint32_t i = 0; i < count; ++i) different += repeat(backends);
  for (uint32_t b = 0; b < backends->length; ++b) {
    printf("%s%s", b ? ", " : "", property(backends->items[b], "name")->text);
  }
  printf(": %u calls, %d differ\n", count, different);
  return different > 0 || count == 0;
}
