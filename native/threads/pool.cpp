// The pool. Its threads sleep until there is something to do; they are never joined and end with the process.
//
// A caller with work in pieces puts it up as a team and works on it; idle threads join. No caller waits for a thread to
// become free, so that calls of several environments cannot block each other, and beside the callers no more threads
// are at work than get_threads() - 1.
//
// pthread and Win32 themselves: std::thread needs the C++ library (scripts/check-abi.mjs).
#include "pool.h"

#include <atomic>
#include <cstdint>

#if defined(_WIN32)
#include <windows.h>
#else
#include <pthread.h>
#if defined(__APPLE__)
#include <dlfcn.h>
#endif
#endif

#include "../platform/arch.h"
#include "../platform/compiler.h"
#include "../platform/pause.h"

// glibc 2.34 moved these from libpthread into libc under a new version; the old one is in every glibc.
#if defined(__GLIBC__) && EVENKEEL_X86_64
#define EVENKEEL_OLDEST_GLIBC "GLIBC_2.2.5"
#elif defined(__GLIBC__) && EVENKEEL_ARM64
#define EVENKEEL_OLDEST_GLIBC "GLIBC_2.17"
#endif
#if defined(EVENKEEL_OLDEST_GLIBC)
__asm__(".symver pthread_create,pthread_create@" EVENKEEL_OLDEST_GLIBC);
__asm__(".symver pthread_detach,pthread_detach@" EVENKEEL_OLDEST_GLIBC);
#endif

EVENKEEL_SMALL_BEGIN

namespace evenkeel {
namespace {

void serve(size_t index);

#if defined(_WIN32)

using Condition = CONDITION_VARIABLE;
SRWLOCK mutex = SRWLOCK_INIT;
Condition something_to_do = CONDITION_VARIABLE_INIT;
Condition pool_resized = CONDITION_VARIABLE_INIT;
Condition something_done = CONDITION_VARIABLE_INIT;

void lock() { AcquireSRWLockExclusive(&mutex); }
void unlock() { ReleaseSRWLockExclusive(&mutex); }
void wait(Condition& condition) { SleepConditionVariableSRW(&condition, &mutex, INFINITE, 0); }
void wake_all(Condition& condition) { WakeAllConditionVariable(&condition); }

DWORD WINAPI thread_main(void* index) {
  serve(reinterpret_cast<size_t>(index));
  return 0;
}

bool start_thread(size_t index) {
  const HANDLE thread = CreateThread(nullptr, 0, thread_main, reinterpret_cast<void*>(index), 0, nullptr);
  if (thread) CloseHandle(thread);
  return thread != nullptr;
}

#else

using Condition = pthread_cond_t;
pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
Condition something_to_do = PTHREAD_COND_INITIALIZER;
Condition pool_resized = PTHREAD_COND_INITIALIZER;
Condition something_done = PTHREAD_COND_INITIALIZER;

void lock() { pthread_mutex_lock(&mutex); }
void unlock() { pthread_mutex_unlock(&mutex); }
void wait(Condition& condition) { pthread_cond_wait(&condition, &mutex); }
void wake_all(Condition& condition) { pthread_cond_broadcast(&condition); }

void* thread_main(void* index) {
  serve(reinterpret_cast<size_t>(index));
  return nullptr;
}

bool start_thread(size_t index) {
  pthread_t thread;
  if (pthread_create(&thread, nullptr, thread_main, reinterpret_cast<void*>(index)) != 0) return false;
  pthread_detach(thread);
  return true;
}

#endif

// The code that the threads run must stay when the environment that loaded it ends: Node.js unloads an addon with its
// last worker. On Linux a flag of the linker says so (binding.gyp).
void stay_loaded() {
#if defined(_WIN32)
  HMODULE self;
  GetModuleHandleExA(GET_MODULE_HANDLE_EX_FLAG_PIN | GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS,
                     reinterpret_cast<const char*>(&stay_loaded), &self);
#elif defined(__APPLE__)
  Dl_info self;
  if (dladdr(reinterpret_cast<const void*>(&stay_loaded), &self)) dlopen(self.dli_fname, RTLD_LAZY | RTLD_NODELETE);
#endif
}

class Lock {
 public:
  Lock() { lock(); }
  ~Lock() { unlock(); }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;
};

// One call's work while it is done; it stands on the stack of its caller.
struct Team {
  const Work& work;
  size_t wanted;  // threads that may still join
  Team* next;
  std::atomic<size_t> taken{0};    // pieces that were begun
  std::atomic<size_t> helpers{0};  // threads at work beside the caller; changed under the lock

  // Does pieces until all are taken.
  void help() {
    for (size_t piece; (piece = taken.fetch_add(1, std::memory_order_relaxed)) < work.pieces;) {
      work.run(work.what, piece);
    }
  }
  bool joinable() const { return wanted > 0 && taken.load(std::memory_order_relaxed) < work.pieces; }
};

// Read and written under the lock, but for the atomic ones.
std::atomic<size_t> threads{0};
std::atomic<uint32_t> news{0};  // how often something was put up: what an idle thread looks at
size_t started = 0;
size_t asleep = 0;
Team* teams = nullptr;
Job* first_job = nullptr;
Job* last_job = nullptr;

// How often a thread looks for work before it sleeps: for some 20 to 100 us, so that calls that follow each other find
// it awake.
constexpr int spins = 2000;

template <class Ready>
void spin_until(Ready ready) {
  for (int i = 0; i < spins && !ready(); ++i) pause_thread();
}

// Threads beside the callers'. One at least: jobs need it.
size_t pool_size() {
  const size_t n = threads.load(std::memory_order_relaxed);
  return n > 2 ? n - 1 : 1;
}

void start_threads(size_t n) {
  if (started == 0) stay_loaded();
  while (started < n && start_thread(started)) ++started;
}

void announce() {
  news.fetch_add(1, std::memory_order_relaxed);
  if (asleep > 0) wake_all(something_to_do);
}

// Takes part in a team or does a job; false where there is none. Under the lock, which it gives up meanwhile.
bool do_something() {
  for (Team* team = teams; team; team = team->next) {
    if (!team->joinable()) continue;
    --team->wanted;
    team->helpers.fetch_add(1, std::memory_order_relaxed);
    unlock();
    team->help();
    lock();
    team->helpers.fetch_sub(1, std::memory_order_relaxed);
    wake_all(something_done);
    return true;
  }
  Job* job = first_job;
  if (!job) return false;
  first_job = job->next;
  JobOwner* owner = job->owner;
  ++owner->running;
  unlock();
  job->run(job);
  lock();
  --owner->running;
  wake_all(something_done);
  return true;
}

// What a thread of the pool does for ever. Those beyond the pool's size, which may have shrunk, sleep apart from the
// others: no work wakes them.
void serve(size_t index) {
  lock();
  for (bool rested = false;;) {
    if (index >= pool_size()) {
      wait(pool_resized);
    } else if (do_something()) {
      rested = false;
    } else if (!rested) {
      const uint32_t seen = news.load(std::memory_order_relaxed);
      unlock();
      spin_until([=] { return news.load(std::memory_order_relaxed) != seen; });
      lock();
      rested = true;
    } else {
      ++asleep;
      wait(something_to_do);
      --asleep;
    }
  }
}

}  // namespace

size_t get_threads() { return threads.load(std::memory_order_relaxed); }

void set_threads(size_t n) {
  const Lock held;
  threads.store(n, std::memory_order_relaxed);
  announce();
  wake_all(something_to_do);  // those that are one too many now
  wake_all(pool_resized);
}

void run_pieces(const Work& work, size_t helpers) {
  Team team{work, helpers, nullptr};
  if (helpers > 0 && work.pieces > 1) {
    const Lock held;
    start_threads(helpers);
    team.next = teams;
    teams = &team;
    announce();
  } else {
    team.help();
    return;
  }
  team.help();
  {
    const Lock held;
    Team** link = &teams;
    while (*link != &team) link = &(*link)->next;
    *link = team.next;
  }
  // No thread joins any more; those that have joined are at their last piece.
  spin_until([&] { return team.helpers.load(std::memory_order_relaxed) == 0; });
  const Lock held;
  while (team.helpers.load(std::memory_order_relaxed) > 0) wait(something_done);
}

bool add_job(Job* job) {
  const Lock held;
  start_threads(pool_size());
  if (started == 0) return false;
  job->next = nullptr;
  (first_job ? last_job->next : first_job) = job;
  last_job = job;
  announce();
  return true;
}

void end_jobs(JobOwner* owner, void (*drop)(Job* job)) {
  Job* taken = nullptr;
  {
    const Lock held;
    Job* before = nullptr;
    for (Job** link = &first_job; *link;) {
      Job* job = *link;
      if (job->owner == owner) {
        *link = job->next;
        job->next = taken;
        taken = job;
      } else {
        before = job;
        link = &job->next;
      }
    }
    last_job = before;
    while (owner->running > 0) wait(something_done);
  }
  while (taken) {
    Job* job = taken;
    taken = job->next;
    drop(job);
  }
}

}  // namespace evenkeel

EVENKEEL_SMALL_END
