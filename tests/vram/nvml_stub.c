/* A stand-in for libnvidia-ml.so.1 that answers what a scenario file says, so that the real pynvml runs without a GPU.
 *
 * $NVML_STUB_SCENARIO names a file of lines "key value"; it is read again at every call, so a test can lose the GPU, bring
 * it back, or let a hanging call go on. Keys: an NVML error code per call ("init", "handle", "memory", "memory_v2",
 * "compute", "graphics", "mps", "mig", "driver"), sizes ("total", "free", "reserved"), lists ("compute_list 11:1024,12:-1") and
 * "mig_instances". Inside MIG instance 0, sizes and lists are looked up with the prefix "mig0_". "hang" names a call that
 * blocks while the file says so. $NVML_STUB_CALLS, where set, receives one line per init and shutdown.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long long u64;
typedef struct { u64 total, free, used; } memory_v1;
typedef struct { unsigned version; u64 total, reserved, free, used; } memory_v2;
typedef struct { unsigned pid; u64 used; unsigned gpu_instance, compute_instance; } process_v3;

enum { SUCCESS = 0, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7 };
static char gpu, mig_instance[8];

static int lookup(const char *key, char *value, size_t size) {
    FILE *file = fopen(getenv("NVML_STUB_SCENARIO"), "r");
    char line[512], name[64];
    int found = 0, offset = 0;
    if (!file) return 0;
    while (!found && fgets(line, sizeof line, file)) {
        if (sscanf(line, "%63s %n", name, &offset) == 1 && strcmp(name, key) == 0) {
            line[strcspn(line, "\n")] = 0;
            snprintf(value, size, "%s", line + offset);
            found = 1;
        }
    }
    fclose(file);
    return found;
}

static long long number(const char *key, long long fallback) {
    char value[512];
    return lookup(key, value, sizeof value) ? atoll(value) : fallback;
}

/* The key as seen from a device: MIG instance 0 has its own totals and lists. */
static const char *of(void *device, const char *key, char *buffer, size_t size) {
    long index = (char *)device - mig_instance;
    if (device == (void *)&gpu) return key;
    snprintf(buffer, size, "mig%ld_%s", index, key);
    return buffer;
}

static int enter(const char *call) {
    char hanging[512];
    while (lookup("hang", hanging, sizeof hanging) && strcmp(hanging, call) == 0) usleep(2000);
    return (int)number(call, SUCCESS);
}

static void note(const char *what) {
    const char *path = getenv("NVML_STUB_CALLS");
    FILE *file = path ? fopen(path, "a") : NULL;
    if (!file) return;
    fprintf(file, "%s\n", what);
    fclose(file);
}

int nvmlInitWithFlags(unsigned flags) { (void)flags; note("init"); return enter("init"); }
int nvmlShutdown(void) { note("shutdown"); return enter("shutdown"); }
const char *nvmlErrorString(int code) { (void)code; return "an error of the stub"; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    if (index != 0) return NOT_FOUND;
    *device = &gpu;
    return enter("handle");
}

int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) {
    if (strcmp(uuid, "MIG-0") == 0) *device = &mig_instance[0];
    else if (strcmp(uuid, "GPU-0") == 0) *device = &gpu;
    else return NOT_FOUND;
    return enter("handle");
}

int nvmlDeviceGetName(void *device, char *name, unsigned size) {
    snprintf(name, size, device == (void *)&gpu ? "Stub GPU" : "Stub GPU MIG");
    return enter("name");
}

int nvmlSystemGetDriverVersion(char *version, unsigned size) { snprintf(version, size, "580.1"); return enter("driver"); }

int nvmlDeviceGetCount_v2(unsigned *count) { *count = (unsigned)number("gpus", 1); return enter("count"); }

int nvmlDeviceGetUUID(void *device, char *uuid, unsigned size) {
    if (device == (void *)&gpu) snprintf(uuid, size, "GPU-0");
    else snprintf(uuid, size, "MIG-%ld", (long)((char *)device - mig_instance));
    return SUCCESS;
}

int nvmlDeviceGetMigMode(void *device, unsigned *current, unsigned *pending) {
    (void)device;
    *current = *pending = number("mig_instances", -1) >= 0;
    return enter("mig");
}

int nvmlDeviceGetMaxMigDeviceCount(void *device, unsigned *count) { (void)device; *count = 7; return SUCCESS; }

int nvmlDeviceGetMigDeviceHandleByIndex(void *device, unsigned index, void **instance) {
    (void)device;
    if ((long long)index >= number("mig_instances", 0)) return NOT_FOUND;
    *instance = &mig_instance[index];
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo_v2(void *device, memory_v2 *memory) {
    char key[64];
    int code = enter("memory");
    if (code == SUCCESS) code = (int)number("memory_v2", SUCCESS);
    if (code != SUCCESS) return code;
    memory->total = number(of(device, "total", key, sizeof key), 0);
    memory->free = number(of(device, "free", key, sizeof key), 0);
    memory->reserved = number("reserved", 0);
    memory->used = memory->total - memory->free - memory->reserved;
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(void *device, memory_v1 *memory) {
    char key[64];
    int code = enter("memory");
    if (code != SUCCESS) return code;
    memory->total = number(of(device, "total", key, sizeof key), 0);
    memory->free = number(of(device, "free", key, sizeof key), 0);
    memory->used = memory->total - memory->free;
    return SUCCESS;
}

static int list(void *device, const char *call, const char *key, unsigned *count, process_v3 *processes) {
    char name[64], value[512], *rest = value, *entry;
    unsigned found = 0, room = *count;
    int code = enter(call);
    if (code != SUCCESS) return code;
    if (!lookup(of(device, key, name, sizeof name), value, sizeof value)) value[0] = 0;
    while ((entry = strsep(&rest, ",")) && *entry) {
        if (processes && found < room) {
            char *colon = strchr(entry, ':');
            processes[found].pid = (unsigned)atoi(entry);
            processes[found].used = (u64)atoll(colon + 1); /* -1 becomes "not available" */
        }
        found++;
    }
    *count = found;
    return found > room ? INSUFFICIENT_SIZE : SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, process_v3 *processes) {
    return list(device, "compute", "compute_list", count, processes);
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(void *device, unsigned *count, process_v3 *processes) {
    return list(device, "graphics", "graphics_list", count, processes);
}

int nvmlDeviceGetMPSComputeRunningProcesses_v3(void *device, unsigned *count, process_v3 *processes) {
    return list(device, "mps", "mps_list", count, processes);
}
