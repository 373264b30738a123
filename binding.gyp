{
  "targets": [
    {
      "target_name": "addon",
      "type": "none",
      "dependencies": ["native/binding.gyp:evenkeel"]
    }
  ]
}
