const THREADS = $THREADSu;
const RUN = $RUNu;

var<workgroup> partial: array<f32, THREADS>;
var<workgroup> runs: array<f32, THREADS / RUN>;

// Σ of the values of all threads, which all call it. In two levels: a tree of more would have a barrier for each, and
// those cost more than additions.
fn fold(value: f32, lane: u32) -> f32 {
  partial[lane] = value;
  workgroupBarrier();
  if (lane < THREADS / RUN) {
    var run = 0.0;
    for (var i = 0u; i < RUN; i += 1u) {
      run += partial[lane * RUN + i];
    }
    runs[lane] = run;
  }
  workgroupBarrier();
  var sum = 0.0;
  for (var i = 0u; i < THREADS / RUN; i += 1u) {
    sum += runs[i];
  }
  return sum;
}
