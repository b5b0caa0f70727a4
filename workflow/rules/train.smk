# One rule for every model family, so that a profile can give each its own resources: train_cnn: gpu=1.
for family in list_kinds("models"):

    rule:
        name:
            f"train_{family}"
        input:
            lambda wildcards, family=family: HEADRACE.needs(
                "train", f"{family}-{wildcards.job}"
            ),
        output:
            HEADRACE.receipt("train", f"{family}-{{job}}"),
        log:
            HEADRACE.log("train", f"{family}-{{job}}"),
        conda:
            "../../envs/headrace.yaml"
        threads: HEADRACE.default(f"train_{family}", "threads")
        resources:
            mem_mb=HEADRACE.default(f"train_{family}", "mem_mb"),
            runtime=HEADRACE.default(f"train_{family}", "runtime"),
            gpu=0,
            runs_per_gpu=1,
        params:
            job=f"{family}-{{job}}",
        shell:
            "headrace train {output:q} --gpus {resources.gpu:q} --runs-per-gpu {resources.runs_per_gpu:q}"
            " --memory-mib {resources.mem_mb:q} --runtime-min {resources.runtime:q} --cores {threads:q}"
            " > {log:q} 2>&1"
