package node

// A Job is work that reads much and changes nothing: it runs beside the
// replica, on snapshots, and what it returns is called in the replica's turn.
// It may run at once or much later; a replica that has closed never calls it.
type Job func() func(nowMillis int64) (Step, error)

// later adds a job to the step. Its outcome is taken in as a step of its own.
func (r *Replica) later(work func() (finish func() error)) {
	r.step.Jobs = append(r.step.Jobs, func() func(int64) (Step, error) {
		finish := work()
		return func(now int64) (Step, error) {
			r.begin(now)
			if err := finish(); err != nil {
				return Step{}, err
			}
			return r.end()
		}
	})
}
