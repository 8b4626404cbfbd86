#!/usr/bin/env bash
# How the files in written.tar.gz were made, by version 0.1.0: ./make.sh COMMAND... with the command that runs it, such
# as `./make.sh python -m layerprobe`, from an empty folder that holds net.py.
set -eu
run=("$@")
small=(--data digits --device cpu --train-samples 100 --test-samples 50 --batch-size 50)

"${run[@]}" train --model net.py:wide "${small[@]}" --train-samples 500 --epochs 4 --lr 0.03 --holdout 0.2 \
  --output teacher
teacher=(--weights teacher/model.safetensors)
images=(--model net.py:wide "${teacher[@]}" --data digits --device cpu --samples 30)
"${run[@]}" extract "${images[@]}" --dtype float16 --output features.h5
"${run[@]}" extract "${images[@]}" --stats-only --output grams.h5
"${run[@]}" rank features.h5 --top 2 --resamples 20 --statistics collapse
"${run[@]}" rank grams.h5 --top 1 --by logme --resamples 0

# Features of every training image, which stand for the teacher's passes, and a ranking as the choice of layers.
"${run[@]}" extract --model net.py:wide "${teacher[@]}" --data digits --device cpu --samples 100 --layers '3,4' \
  --dtype float16 --output passes.h5
distill=(--teacher net.py:wide "${teacher[@]}" --student net.py:narrow "${small[@]}" --epochs 2 --lr 0.03)
"${run[@]}" distill "${distill[@]}" --layers features.ranking.json --output student
"${run[@]}" distill "${distill[@]}" --method simkd --output simkd
"${run[@]}" distill "${distill[@]}" --alignment moments --by-class --mapping full --layers 3,4 --student-layers 3,4 \
  --holdout 0.2 --optimizer sgd --schedule multi-step --milestones 1 --output classes
"${run[@]}" distill "${distill[@]}" --layers even:1 --kl --feature-weight 0.5 --feature-loss huber --output ablation
"${run[@]}" evaluate student --device cpu --samples 10

# Unfinished: an extraction and a run that were killed, each after it had written something.
python - "${run[@]}" extract --model net.py:wide "${teacher[@]}" --data digits --device cpu --samples 30 --batch-size 1 \
  --dtype float16 --output unfinished.h5 <<'PYTHON'
import pathlib, subprocess, sys, h5py
def rows():
    with h5py.File("unfinished.h5", "r", locking=False) as file:
        return file["images/written"][:].sum()
done = 30
while done == 30:
    pathlib.Path("unfinished.h5").unlink(missing_ok=True)
    process = subprocess.Popen(sys.argv[1:])
    while not (pathlib.Path("unfinished.h5").exists() and rows()):
        pass
    process.kill()
    process.wait()
    done = rows()
PYTHON
python - "${run[@]}" distill "${distill[@]}" --epochs 400 --layers 3,4 --output unfinished <<'PYTHON'
import subprocess, sys, time, pathlib
process = subprocess.Popen(sys.argv[1:])
while not pathlib.Path("unfinished/checkpoints/latest").exists():
    time.sleep(0.01)
process.kill()
process.wait()
PYTHON

# A grid of which one cell fails, and a validation.
"${run[@]}" compare grid.yaml --output grid || true
"${run[@]}" validate validate.yaml --output validation

# Packed, without figures, what finished runs no longer need, and names of the machine.
find . -name 'curves.*' -delete
find . -name 'confusion-*' -delete
find . -path '*/checkpoints/latest' -not -path './unfinished/*' -not -path './teacher/*' -prune -exec rm -r {} +
sed -i -E 's/"(place|host)": "[^"]*"/"\1": "somewhere"/g' */claims/*
touch -d @0 */claims/*  # as a claim that was released
tar --sort=name --owner=0 --group=0 -cf - --exclude=log.txt --exclude=__pycache__ -- * | xz -9 > ../written.tar.xz
