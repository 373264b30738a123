{
  "targets": [
    {
      "target_name": "evenkeel",
      "sources": [
        "node/addon.cpp",
        "node/memory.cpp",
        "dispatch.cpp",
        "threads/pool.cpp",
        "threads/sections.cpp",
        "isa/avx512.cpp",
        "isa/avx2.cpp",
        "isa/neon.cpp",
        "isa/portable.cpp"
      ],
      "include_dirs": ["<!(node -p \"process.env.EVENKEEL_NODE_ADDON_API || require('node-addon-api').include_dir\")"],
      "defines": [
        "NAPI_VERSION=8",
        "NAPI_DISABLE_CPP_EXCEPTIONS",
        "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS",
        "NODE_ADDON_API_DISABLE_DEPRECATED",
        "EVENKEEL_VERSION=0.1.0"
      ],
      "cflags!": ["-fno-omit-frame-pointer"],
      "cflags_cc!": ["-std=gnu++14", "-std=gnu++17", "-std=gnu++20"],
      "cflags_cc": [
        "-std=c++17",
        "-O3",
        "-fno-unswitch-loops",
        "-fno-math-errno",
        "-ffp-contract=off",
        "-fno-exceptions",
        "-fno-rtti",
        "-fno-asynchronous-unwind-tables",
        "-fno-threadsafe-statics",
        "-fvisibility=hidden",
        "-Wall",
        "-Wextra",
        "-Wno-psabi",
        "-Wno-maybe-uninitialized"
      ],
      "ldflags": ["-Wl,--as-needed", "-Wl,-z,nodelete"],
      "configurations": { "Debug": { "cflags_cc!": ["-O3"], "xcode_settings": { "GCC_OPTIMIZATION_LEVEL": "0" } } },
      "xcode_settings": {
        "CLANG_CXX_LANGUAGE_STANDARD": "c++17",
        "GCC_OPTIMIZATION_LEVEL": "3",
        "GCC_ENABLE_CPP_EXCEPTIONS": "NO",
        "GCC_ENABLE_CPP_RTTI": "NO",
        "GCC_SYMBOLS_PRIVATE_EXTERN": "YES",
        "MACOSX_DEPLOYMENT_TARGET": "11.0",
        "OTHER_CPLUSPLUSFLAGS": ["-ffp-contract=off"]
      },
      "msvs_settings": {
        "VCCLCompilerTool": {
          "AdditionalOptions": ["/std:c++17", "/fp:precise"]
        }
      }
    }
  ]
}
