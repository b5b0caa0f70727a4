include: "workflow/Snakefile"


localrules:
    all,


rule all:
    default_target: True
    input:
        rules.experiment.input,
