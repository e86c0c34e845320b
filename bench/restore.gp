# SPDX-License-Identifier: GPL-2.0-or-later
#
# How the curves look; plot.py appends the data and a "plot" for each panel,
# and fills in what is between @ signs.
set terminal @KIND@ size 1600,900 font "Sans,11" background rgb "white"
set output "@OUTPUT@"
set multiplot layout 2,4 columnsfirst \
    title "Restores of a whole machine, by the pages that each puts back"
set logscale xy
set grid
set key font ",9"
set xlabel "pages put back"
set style line 1 lc rgb "#9ecae1" pt 7 lw 2
set style line 2 lc rgb "#3182bd" pt 7 lw 2
set style line 3 lc rgb "#08306b" pt 7 lw 2
set style line 4 lc rgb "#fdae6b" pt 5 lw 2
set style line 5 lc rgb "#e6550d" pt 5 lw 2
set style line 6 lc rgb "#7f2704" pt 5 lw 2
