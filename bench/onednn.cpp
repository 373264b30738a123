// oneDNN's LayerNorm and batchNorm as an addon for onednn.ts, which compiles it. `make` gives a function without arguments that
// runs one primitive over the memory of the arrays given; undefined where oneDNN has no such op. onednn.ts keeps the arrays.
#include <node_api.h>

#include <cstring>
#include <dnnl.hpp>
#include <string>
#include <unordered_map>

using namespace dnnl;

struct Call {
  stream queue;
  primitive run;
  std::unordered_map<int, memory> operands;
};

static const engine &cpu() {
  static const engine one(engine::kind::cpu, 0);
  return one;
}

static napi_value fail(napi_env env, const std::exception &error) {
  napi_throw_error(env, nullptr, error.what());
  return nullptr;
}

static napi_value property(napi_env env, napi_value object, const char *name) {
  napi_value value = nullptr;
  napi_get_named_property(env, object, name, &value);
  return value;
}

static memory::dim number(napi_env env, napi_value object, const char *name) {
  int64_t value = 0;
  napi_get_value_int64(env, property(env, object, name), &value);
  return value;
}

static float *floats(napi_env env, napi_value object, const char *name) {
  void *data = nullptr;
  napi_get_typedarray_info(env, property(env, object, name), nullptr, nullptr, &data, nullptr, nullptr);
  return static_cast<float *>(data);
}

static memory::desc tensor(const memory::dims &dims, memory::format_tag tag) {
  return {dims, memory::data_type::f32, tag};
}

static Call layer_norm(const memory::desc &form, float eps) {
  const layer_normalization_forward::desc what(prop_kind::forward_inference, form, eps,
                                               normalization_flags::use_scale | normalization_flags::use_shift);
  return {stream(cpu()), layer_normalization_forward({what, cpu()}), {}};
}

static Call batch_norm(const memory::desc &form, float eps, bool training) {
  auto flags = normalization_flags::use_scale | normalization_flags::use_shift;
  if (!training) flags |= normalization_flags::use_global_stats;
  const auto kind = training ? prop_kind::forward_training : prop_kind::forward_inference;
  return {stream(cpu()), batch_normalization_forward({{kind, form, eps, flags}, cpu()}), {}};
}

static napi_value run(napi_env env, napi_callback_info info) {
  void *data = nullptr;
  napi_get_cb_info(env, info, nullptr, nullptr, nullptr, &data);
  try {
    Call &call = *static_cast<Call *>(data);
    call.run.execute(call.queue, call.operands);
    call.queue.wait();
    return nullptr;
  } catch (const std::exception &error) {
    return fail(env, error);
  }
}

static napi_value make(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value given;
  napi_get_cb_info(env, info, &count, &given, nullptr, nullptr);
  char op[32] = "";
  napi_get_value_string_utf8(env, property(env, given, "op"), op, sizeof op, nullptr);
  const bool training = !std::strcmp(op, "batchNormTraining"), rows = !std::strcmp(op, "layerNorm");
  if (!rows && !training && std::strcmp(op, "batchNorm")) return nullptr;
  const memory::dim n = number(env, given, "samples"), c = number(env, given, "channels");
  const memory::dim positions = number(env, given, "positions");
  bool last = false;
  napi_get_value_bool(env, property(env, given, "channelsLast"), &last);
  double eps = 0;
  napi_get_value_double(env, property(env, given, "eps"), &eps);
  try {
    // Four dimensions, of [N, C] too: of two it takes its reference code, 20 times as slow (measured).
    const auto form = rows ? tensor({n, c}, memory::format_tag::ab)
                           : tensor({n, c, 1, positions}, last ? memory::format_tag::nhwc : memory::format_tag::nchw);
    const auto e = static_cast<float>(eps);
    Call *const call = new Call(rows ? layer_norm(form, e) : batch_norm(form, e, training));
    const auto channel = tensor({c}, memory::format_tag::a);
    const auto add = [&](int argument, const memory::desc &form, const char *name) {
      call->operands[argument] = memory(form, cpu(), floats(env, given, name));
    };
    add(DNNL_ARG_SRC, form, "x");
    add(DNNL_ARG_DST, form, "y");
    add(DNNL_ARG_SCALE, channel, "weight");
    add(DNNL_ARG_SHIFT, channel, "bias");
    if (!rows) add(DNNL_ARG_MEAN, channel, "runningMean"), add(DNNL_ARG_VARIANCE, channel, "runningVar");
    napi_value function;
    napi_create_function(env, "run", NAPI_AUTO_LENGTH, run, call, &function);
    napi_add_finalizer(
        env, function, call, [](napi_env, void *data, void *) { delete static_cast<Call *>(data); }, nullptr, nullptr);
    return function;
  } catch (const std::exception &error) {
    return fail(env, error);
  }
}

NAPI_MODULE_INIT() {
  napi_value function, version;
  napi_create_function(env, "make", NAPI_AUTO_LENGTH, make, nullptr, &function);
  napi_set_named_property(env, exports, "make", function);
  const dnnl_version_t *const one = dnnl_version();
  const auto text = std::to_string(one->major) + "." + std::to_string(one->minor) + "." + std::to_string(one->patch);
  napi_create_string_utf8(env, text.c_str(), text.size(), &version);
  napi_set_named_property(env, exports, "version", version);
  return exports;
}
