rule evaluate:
    input:
        lambda wildcards: HEADRACE.needs("evaluate", wildcards.job),
    output:
        HEADRACE.receipt("evaluate"),
    log:
        HEADRACE.log("evaluate"),
    conda:
        "../../envs/headrace.yaml"
    threads: 1
    resources:
        mem_mb=4096,
        runtime=60,
        gpu=0,
    params:
        job="{job}",
    shell:
        "headrace evaluate {output:q} > {log:q} 2>&1"
