// The threads of the process: one pool for all its environments, the main thread and worker_threads alike.
#pragma once

#include <cstddef>

namespace evenkeel {

constexpr size_t max_threads = 1024;

// How many threads work on one call, the caller's among them: 1 to max_threads. 0: no number was set yet.
size_t get_threads();
void set_threads(size_t n);

// Pieces of work that may be done in any order and by any thread.
struct Work {
  void (*run)(const void* what, size_t piece);
  const void* what;
  size_t pieces;
};

// Does all pieces, at most `helpers` idle threads of the pool taking part; when it returns all are done.
void run_pieces(const Work& work, size_t helpers);

// What adds jobs: an environment.
struct JobOwner {
  size_t running = 0;  // jobs that have begun and not ended
};

// What a thread of the pool does some time; the jobs of all owners begin in the order in which they were added.
struct Job {
  void (*run)(Job* job);
  JobOwner* owner;
  Job* next;
};

// false where the system gives no thread: then the job is not run.
bool add_job(Job* job);

// Takes back the owner's jobs that have not begun, waits for those that have, then calls drop for each one taken back.
void end_jobs(JobOwner* owner, void (*drop)(Job* job));

}  // namespace evenkeel
