"""Networks on GPUs, through ncnn's Vulkan backend, which reads ncnn files as they are."""
