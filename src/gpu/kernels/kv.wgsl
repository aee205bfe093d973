const DIM = $DIMu;
// Words of a head's values, and all words that it takes.
const WORDS = $WORDSu;
const ROW = $ROWu;
