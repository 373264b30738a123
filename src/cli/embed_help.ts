// What `evenkeel embed --help` prints.
import { commonHelp, dtypeHelp } from './run_files.js'

export const embedHelp = `Usage: evenkeel embed <hidden.npy>... -o <out.npy or folder> [options]

Makes embeddings of a model's last hidden states, [samples, positions, channels] in a .npy file of float32 ('<f4'), float16
('<f2') or bfloat16 ('<V2', as numpy holds it), little-endian. It is read in blocks of samples, so that it may be larger than
memory; - is standard input. The stages, in this order:

Pooling: the real positions of a sample become one row; padded ones are skipped, whatever they hold
      --lengths <list or file>   real positions of each sample, from the first, e.g. 10,20; default: all are real
      --mask <file>              the same as flags [samples, positions]: bool, integers or float32, 1 where real; default:
                                 all are real
      --skip <list or file>      leaves out the first real positions (a prompt): one number, or one for each sample;
                                 default: 0
      --pooling <list>           mean (default), mean-sqrt, weighted-mean, cls (the first), last or max; several, e.g.
                                 mean,max, stand side by side in a row. none: each position is a row; also of
                                 [rows, channels]
LayerNorm over a row
      --layer-norm               with it; default: without
      --weight, --bias <file>    scale and shift, one element for each channel of a row; default: none (1 and 0)
      --layer-norm-eps <number>  added to the variance, in the unit of the hidden states squared; default 1e-5
Cut (Matryoshka)
      --dimensions <number>      the first so many numbers of a row are kept; default: all
Division by the norm
      --no-normalize             without it; default: with it
      --p <number>               which norm, above 0; inf for the largest magnitude; default 2
      --eps <number>             bounds the norm, in the unit of a row; default 1e-12
      --rule <name>              clamp (default), clamp-square, add-square, mean-square or zero: where eps stands
      --normalize-scale <number> multiplies the result; default 1
Precision
      --precision <name>         float32 (default, '<f4'), float16 ('<f2'), bfloat16 ('<u2': its bits; --dtype bfloat16 reads
                                 them), int8 ('|i1'), uint8 ('|u1'), binary ('|i1') or ubinary ('|u1'): 8 numbers a byte
      --scale <name or file>     how numbers become int8: unit (times 127), row (each row by its largest magnitude) or
                                 sqlite-vec; or, for int8 and uint8, a file of evenkeel calibrate: 256 steps from the
                                 smallest to the largest number of each dimension. ./row is a file of that name;
                                 int8 and uint8 need it
      --bit-order <name>         of binary and ubinary: msb (default; numpy, pgvector) or lsb (sqlite-vec)

Options:
      --norm <file or folder>    receives the norm of each row before it is divided by it, float32: 0, NaN or inf name a bad
                                 row; default: they are not written
      --scales <file or folder>  receives what the codes of each row are multiplied by (--scale row), float32; default: they
                                 are not written
${dtypeHelp}
${commonHelp}
In a pipe: cat hidden.npy | evenkeel embed - -o - | gzip > out.npy.gz

Statistics for --scale are made of embeddings as they are here before the last stage:
  evenkeel embed hidden.npy -o sample.npy --dimensions 256
  evenkeel calibrate sample.npy -o statistics.json
  evenkeel embed hidden.npy -o codes.npy --dimensions 256 --precision int8 --scale statistics.json
`
